"""Makes the environment that the course prescribes, once. Needs only the standard library."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from .errors import GraderError
from .interpreter import COURSE_PINS, NEWEST, OLDEST

COURSE = ".venv-course"
PYTHON = (3, 12)  # the course's
# As PyTorch's installation page says for a machine without a GPU.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SIZES = {
    "cpu": "about 0.5 GB to download and 1.7 GB on disk",
    "default": "up to 3 GB to download and 5.8 GB on disk",
}
_STATE = "made-for-grading"  # in the environment: the SHA-256 of what was installed, once it was


def course() -> Path:
    """The folder of the course's environment, which is made if it is not there.

    GraderError if it cannot be made; nothing of it is left then.
    """
    root = Path(__file__).resolve().parent.parent
    folder = (Path.cwd() if root.name == "site-packages" else root) / COURSE
    pins = hashlib.sha256(COURSE_PINS.read_bytes()).hexdigest()
    state = folder / _STATE
    if state.is_file() and state.read_text("utf-8") == pins:
        return folder
    if folder.exists() and not state.is_file():
        raise GraderError(f"{folder}: is not an environment that --course made; move it elsewhere")
    python, version = _find_python()
    print(f"making {folder}, once: Python {version} and", flush=True)
    print(f"    {', '.join(_pinned())} and others", flush=True)
    try:
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        state.touch()
        _install(folder)
        state.write_text(pins, "utf-8")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError | subprocess.CalledProcessError):
            raise
        raise GraderError(
            f"{folder}: could not be made ({error}); it needs the network and room on the disk. "
            f"Or make one yourself: pip install -r {COURSE_PINS}, and give its --python"
        ) from None
    return folder


def _install(folder: Path) -> None:
    """Say how large everything will be, and install the course's packages."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install"]
    build = "default"
    if sys.platform == "linux" and not has_nvidia_gpu() and reachable(f"{CPU_INDEX}/torch/"):
        build = "cpu"
    print(f"    with the {build} build of torch: {SIZES[build]}, 2 to 15 minutes", flush=True)
    if build == "cpu":
        torch = [pin for pin in _pinned() if pin.startswith("torch")]
        subprocess.run([*pip, *torch, "--index-url", CPU_INDEX], check=True)
    subprocess.run([*pip, "-r", COURSE_PINS], check=True)


def _pinned() -> list[str]:
    return [line for line in COURSE_PINS.read_text("utf-8").split() if "==" in line]


def _find_python() -> tuple[str, str]:
    """An interpreter and its version: the course's, or else this one if its version fits."""
    version = ".".join(map(str, PYTHON))
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = [sys.executable] * (sys.version_info[:2] == PYTHON)
    found += [f"python{version}", *glob.glob(f"{pyenv}/versions/{version}.*/bin/python")]
    for candidate in found:
        try:  # it may be a shim of pyenv's for a version that is not chosen
            subprocess.run([candidate, "-m", "venv", "--help"], capture_output=True, check=True)
            return candidate, version
        except (OSError, subprocess.CalledProcessError):
            continue
    if not OLDEST <= sys.version_info[:2] <= NEWEST:  # for which there are builds of its torch
        raise GraderError(f"--course needs Python {version}; install it")
    return sys.executable, ".".join(map(str, sys.version_info[:2]))


def has_nvidia_gpu() -> bool:
    """Whether there is a GPU that torch's default build for Linux can use."""
    return bool(glob.glob("/dev/nvidia[0-9]*") or shutil.which("nvidia-smi"))


def reachable(url: str) -> bool:
    """Whether a page can be had within five seconds."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False
