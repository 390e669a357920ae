"""Install the engine and the data of the game into the cache folder of the user, from registries.

    engine/             a virtual environment with PySTK 1.1.2
    game/               the data of SuperTuxKart 1.4, from a Debian package
    shaders/            data of PySTK 1.0.3: shaders, effects, fonts, settings
    assets/pystk_data/  links that join both in the layout that the engine expects
    installation.json   written last, when the installation is complete

Setup keeps complete parts, so after an interruption it resumes. The engine is under GPL 3 and the
data of the game under other free licences; neither is part of this project.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from homework.common.errors import InputError
from homework.common.files import read_json, write_json, writing

from .assets import (
    GAME_VERSION,
    WHOLE,
    check_game,
    fetch_game,
    fetch_shaders,
    join,
    run_command,
)
from .process import Installation

PYSTK = "PySuperTuxKart==1.1.2"
WHEELS = ("3.10", "3.9", "3.8")  # versions of Python that PySTK has wheels for
LIBRARIES = {"GL": "libgl1", "EGL": "libegl1"}  # -> Debian package
DISK_BYTES = 1_700_000_000  # needed while the data is unpacked; 0.9 GB remain


def cache_folder() -> Path:
    """The folder of the installation, in the user's cache (XDG base directory specification)."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "supertuxkart-recorder"


def find_installation(folder: Path | None = None) -> Installation:
    """The installation made by `install`.

    Raises:
        InputError: there is none, or it is not complete.
    """
    folder = folder or cache_folder()
    record = folder / "installation.json"
    if not record.is_file():
        raise InputError(f"{folder}: the engine is not installed; run python -m lab.record setup")
    found = Installation(folder / "engine" / "bin" / "python", folder / "assets")
    if not (found.python.exists() and (found.assets / "pystk_data").is_dir()):
        raise InputError(f"{folder}: not whole; delete it and run python -m lab.record setup")
    return found


def install(assets: Path | None) -> Installation:
    """Print the sizes of the missing parts and install them.

    Args:
        assets: a data folder of SuperTuxKart 1.4 to use instead of the Debian package.

    Raises:
        InputError: the system is not Linux, or lacks something; the message says how to get it.
    """
    folder = cache_folder()
    _check_system()
    if assets is not None:
        check_game(assets)
    python = _python_with_wheel()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, python, assets)
        versions = {"python": _install_engine(folder / "engine", python).strip()}
        fetch_shaders(folder / "shaders")
        game = assets or fetch_game(folder / "game")
        join(game.resolve(), folder / "shaders", folder / "assets")
        versions |= {"pystk": PYSTK.split("==")[1], "game": GAME_VERSION}
        write_json(folder / "installation.json", versions)
    return find_installation(folder)


def versions(folder: Path | None = None) -> dict[str, str]:
    """Versions of what is installed."""
    return read_json((folder or cache_folder()) / "installation.json")


# --- requirements ---


def _check_system() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise InputError(
            f"the recorder runs on Linux (x86_64), not on {platform.system()} "
            f"{platform.machine()}; record there and copy the folder"
        )
    missing = [package for name, package in LIBRARIES.items() if not ctypes.util.find_library(name)]
    if missing:
        raise InputError(
            f"OpenGL is missing; install it: apt-get install {' '.join(missing)} libgl1-mesa-dri"
        )


def _python_with_wheel() -> str:
    """A Python for which PySTK has a wheel and which can make virtual environments.

    Raises:
        InputError: there is none on the path or among pyenv's.
    """
    names = [f"python{version}" for version in WHEELS]
    found = [path for name in names if (path := shutil.which(name))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in WHEELS:
        found += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for path in found:
        # A launcher of pyenv may exist without its version.
        probe = "import sys, venv, ensurepip, ctypes; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([path, "-c", probe], capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.strip() in WHEELS:
            return path
    raise InputError(
        f"no Python {WHEELS[-1]} to {WHEELS[0]} is here, which the engine has wheels for; install "
        f"one, for example with uv python install {WHEELS[0]} or pyenv install {WHEELS[0]}"
    )


def _check_room(folder: Path, python: str, assets: Path | None) -> None:
    """Print what is fetched; raise InputError if the disk has no room for the game's data."""
    parts = {
        "engine": f"engine 30 MB (wheel for {python})",
        "shaders": "its shaders 24 MB",
        "game": "the game's data 628 MB",
    }
    fetched = [part for part in parts if not (folder / part / WHOLE).exists()]
    free = shutil.disk_usage(folder).free
    if "game" in fetched and free < DISK_BYTES:
        raise InputError(
            f"{folder}: {free / 1e9:.1f} GB are free and {DISK_BYTES / 1e9:.1f} GB needed; make "
            "room, or set XDG_CACHE_HOME to a folder on another disk"
        )
    texts = ", ".join(parts[part] for part in fetched if part != "game" or assets is None)
    print(f"{folder}: " + (f"fetches {texts}" if texts else "all is there"), flush=True)


# --- the engine ---


def _install_engine(folder: Path, python: str) -> str:
    """Make the virtual environment of the engine; returns the version of its Python."""
    interpreter = folder / "bin" / "python"
    if not (folder / WHOLE).exists():
        run_command([python, "-m", "venv", "--clear", str(folder)])
        pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install"]
        run_command([*pip, "-q", "numpy", "pillow"])
        run_command([*pip, "-q", "--no-deps", "--only-binary=:all:", PYSTK])
        (folder / WHOLE).touch()
    return run_command(
        [str(interpreter), "-c", "import platform; print(platform.python_version())"]
    )
