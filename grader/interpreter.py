"""The Python that runs a submission: this one, another environment's, or the course's.

The last is made here, once. Needs only the standard library.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from . import probe
from .errors import GraderError, one_line

# The packages that grading needs, by the names they are imported by: those of requirements.txt
# without orjson, which is optional: the course's environment has none.
REQUIRED = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "peft", "accelerate",
    "PIL", "numpy", "yaml", "psutil", "fire", "tqdm", "matplotlib", "tensorboard",
)  # fmt: skip
# Imported before the process is locked. What these do at import is theirs and not the
# submission's: torch's CUDA build starts ldconfig and gcc to find a library, for example.
BEFORE_THE_LOCK = ("numpy", "PIL", "torch", "safetensors.torch", "tokenizers", "transformers",
                   "accelerate", "peft")  # fmt: skip
# What another environment (--python) must have: requirements.txt is this project's own.
FOR_SUBMISSIONS = tuple(name.partition(".")[0] for name in BEFORE_THE_LOCK)
COURSE_PINS = Path(__file__).with_name("course_requirements.txt")
PROBE = Path(__file__).with_name("probe.py")
PROBE_LIMIT_S = 120.0  # from a cold disk
OLDEST, NEWEST = (3, 10), (3, 13)  # that the lock is tried with
# Variables that lead one Python to its packages, and another one astray.
_ITS_OWN = re.compile(
    "VIRTUAL_ENV.*|CONDA_.*|PYTHON(HOME|PATH|USERBASE|STARTUP|EXECUTABLE|PLATLIBDIR|SAFEPATH)"
    "|__PYVENV_LAUNCHER__"
)
_NAMED = ("transformers", "torch", "peft", "torchvision")
COURSE = ".venv-course"
PYTHON = (3, 12)  # the course's
# As PyTorch's installation page says for a machine without a GPU.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SIZES = {
    "cpu": "about 0.5 GB to download and 1.7 GB on disk",
    "default": "up to 3 GB to download and 5.8 GB on disk",
}
_STATE = "made-for-grading"  # in the environment: the SHA-256 of what was installed, once it was


class Interpreter(NamedTuple):
    """A Python interpreter."""

    executable: str
    python: str  # its version, such as "3.12.1"
    places: list[str]  # files and folders of it and its packages, which submissions may read
    user_base: str | None  # where a user's own packages lie; None if it does not use them
    versions: dict[str, str | None]  # of some packages; None for one that is not installed
    is_own: bool  # whether it is the one that runs the grader

    def __str__(self) -> str:
        """Its path and versions, for a line of the report."""
        found = [f"{name} {version}" for name in _NAMED if (version := self.versions[name])]
        return f"{self.executable} ({', '.join([f'Python {self.python}', *found])})"

    def variables(self) -> dict[str, str]:
        """This process's environment variables, as far as they are for this interpreter."""
        return dict(os.environ) if self.is_own else _for_another()


def _for_another() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _ITS_OWN.fullmatch(name)}


def own() -> Interpreter:
    """The one that runs the grader."""
    found = probe.about([])
    del found["missing"]
    return Interpreter(sys.executable, **found, is_own=True)


def other(path: Path, option: str = "--python") -> Interpreter:
    """That of another environment.

    Args:
        path: the executable, or the folder of a virtual environment.
        option: of the command line that named it, for messages.

    Raises:
        GraderError: it does not run, has a version that the grader is not for, or lacks a package.
    """
    says = f"{option} {path}:"
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    program = shutil.which(path / inside if path.is_dir() else path)  # also by its name alone
    if program is None:
        raise GraderError(f"{says} no such program")
    # Not resolved: an environment's is a link, and its place tells which environment it is.
    program = os.path.abspath(program)
    try:
        done = subprocess.run(
            [program, str(PROBE), *FOR_SUBMISSIONS],
            env=_for_another(),
            capture_output=True,
            encoding="utf-8",
            timeout=PROBE_LIMIT_S,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GraderError(f"{says} does not run: {error}") from None
    except ValueError:
        last = one_line((done.stderr.strip().splitlines() or ["it printed nothing"])[-1], 200)
        raise GraderError(f"{says} is no Python of today ({last})") from None
    version = tuple(int(number) for number in found["python"].split(".")[:2])
    if not OLDEST <= version <= NEWEST:
        oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
        raise GraderError(f"{says} is Python {found['python']}; give one of {oldest} to {newest}")
    if missing := found.pop("missing"):
        raise GraderError(
            f"{says} has no {', '.join(missing)}, which submissions need: "
            f"{program} -m pip install -r {COURSE_PINS}"
        )
    return Interpreter(program, **found, is_own=False)


def check(names: Sequence[str] = REQUIRED) -> None:
    """Find out before the grading, not from the submission, what this environment lacks.

    GraderError if a package is missing; the message names the environment and the remedy.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise GraderError(f"{sys.executable} has no {', '.join(missing)}; {remedy()}")


def remedy() -> str:
    """The command that gives an environment with every package."""
    root = Path(__file__).resolve().parent.parent
    venv = root / ".venv"
    activate = venv / ("Scripts/activate" if sys.platform == "win32" else "bin/activate")
    if activate.exists() and Path(sys.prefix).resolve() != venv:
        return f"activate the environment first: source {activate}"
    return (
        f"in a virtual environment: pip install -r {root / 'requirements.txt'} "
        f"(python3 {root / 'quickstart.py'} makes one, .venv)"
    )


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
    import urllib.request  # slow to import

    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False
