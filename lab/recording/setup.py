"""Install the engine and the data of the game into the cache folder of the user, from registries.

    engine/             a virtual environment with PySTK 1.1.2
    game/               the data of SuperTuxKart 1.4, from a Debian package
    shaders/            data of PySTK 1.0.3: shaders, effects, fonts, settings
    assets/pystk_data/  links that join both in the layout that the engine expects
    installation.json   written last, when the installation is complete

PySTK has the code of SuperTuxKart 1.1 with its own shaders, effects and settings; tracks, karts and
textures come from SuperTuxKart 1.4. Setup keeps complete parts, so after an interruption it
resumes. The engine is under GPL 3 and the data of the game under other free licences; neither is
part of this project.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from homework.common.errors import InputError
from homework.common.files import read_json, write_json, writing

PYSTK, SHADERS = "PySuperTuxKart==1.1.2", "PySuperTuxKart==1.0.3"
GAME, GAME_VERSION = "supertuxkart-data", "1.4"
WHEELS = ("3.10", "3.9", "3.8")  # versions of Python that PySTK has wheels for
LIBRARIES = {"GL": "libgl1", "EGL": "libegl1"}  # -> Debian package
DISK_BYTES = 1_700_000_000  # needed while the data is unpacked; 0.9 GB remain
WHOLE = "complete"  # a file that is written last into each part
_LINKED = ("tracks", "karts", "library", "music")


class Installation(NamedTuple):
    """The Python of the engine, the folder that holds its `pystk_data`, and versions by name."""

    python: Path
    assets: Path
    versions: dict[str, str]


def cache_folder() -> Path:
    """The folder of the installation, in the user's cache (XDG base directory specification)."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "supertuxkart-recorder"


def find_installation() -> Installation:
    """The installation made by `install`.

    Raises:
        InputError: there is none, or it is not complete.
    """
    folder = cache_folder()
    if not (record := folder / "installation.json").is_file():
        raise InputError(f"{folder}: the engine is not installed; run python -m lab.record setup")
    python, assets = folder / "engine" / "bin" / "python", folder / "assets"
    found = Installation(python, assets, read_json(record))
    if not (found.python.exists() and (found.assets / "pystk_data").is_dir()):
        raise InputError(f"{folder}: not whole; delete it and run python -m lab.record setup")
    return found


def install(assets: Path | None) -> Installation:
    """Install the missing parts.

    Args:
        assets: a data folder of SuperTuxKart 1.4 to use instead of the Debian package.

    Raises:
        InputError: the system is not Linux, or lacks something; the message says how to get it.
    """
    folder = cache_folder()
    _check_system()
    if assets is not None:
        _check_game(assets)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if not (folder / "game" / WHOLE).exists() and free < DISK_BYTES:
            raise InputError(
                f"{folder}: {free / 1e9:.1f} GB are free and {DISK_BYTES / 1e9:.1f} GB needed; "
                "make room, or set XDG_CACHE_HOME to a folder on another disk"
            )
        version = _install_engine(folder / "engine").strip()
        _fetch_shaders(folder / "shaders")
        game = assets or _fetch_game(folder / "game")
        join(game.resolve(), folder / "shaders", folder / "assets")
        found = {"python": version, "pystk": PYSTK.split("==")[1], "game": GAME_VERSION}
        write_json(folder / "installation.json", found)
    return find_installation()


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


def _check_game(folder: Path) -> None:
    """Refuse a folder that is not the data folder of SuperTuxKart 1.4."""
    if not (folder / f"supertuxkart.{GAME_VERSION}").exists():
        raise InputError(
            f"{folder} has no file supertuxkart.{GAME_VERSION}; give as --assets the data folder "
            "of that version, like /usr/share/games/supertuxkart/data"
        )


# --- the parts ---


def _install_engine(folder: Path) -> str:
    """Make the virtual environment of the engine; returns the version of its Python."""
    interpreter = folder / "bin" / "python"
    if not (folder / WHOLE).exists():
        _run_command([_python_with_wheel(), "-m", "venv", "--clear", str(folder)])
        pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install"]
        _run_command([*pip, "-q", "numpy", "pillow"])
        _run_command([*pip, "-q", "--no-deps", "--only-binary=:all:", PYSTK])
        (folder / WHOLE).touch()
    return _run_command(
        [str(interpreter), "-c", "import platform; print(platform.python_version())"]
    )


def _fetch_shaders(folder: Path) -> None:
    """Fetch the data folder from the source archive of PySTK 1.0.3."""
    if (folder / WHOLE).exists():
        return
    fresh = _fresh_folder(folder)
    # Downloaded, not installed: installing would compile it.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = ["--no-deps", "--no-build-isolation", "--no-binary=:all:", SHADERS]
    _run_command([*pip, "download", "-q", "-d", str(fresh), *source])
    archive = next(fresh.glob("*.tar.gz"))
    part = ["--strip-components=1", "--wildcards", "*/data/*"]
    _run_command(["tar", "-C", str(fresh), "-xzf", str(archive), *part])
    archive.unlink()
    _keep(fresh, folder)


def _fetch_game(folder: Path) -> Path:
    """Fetch the data of the game from its Debian package; `apt-get download` needs no root."""
    data = folder / "usr" / "share" / "games" / "supertuxkart" / "data"
    if (folder / WHOLE).exists():
        return data
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise InputError(
                f"{tool} is missing, which fetches the game's data on Debian and Ubuntu; elsewhere "
                f"give --assets DIR, the data folder of SuperTuxKart {GAME_VERSION}"
            )
    downloads = folder.with_name("downloads")
    downloads.mkdir(exist_ok=True)
    # apt shows its progress, checks the checksum and resumes a partial file.
    _run_command(["apt-get", "download", GAME], show=True, cwd=downloads)
    archive = max(downloads.glob(f"{GAME}_*.deb"), key=lambda path: path.stat().st_mtime)
    fresh = _fresh_folder(folder)
    print(f"unpacking {archive.name}", flush=True)
    _run_command(["dpkg-deb", "-x", str(archive), str(fresh)])
    _check_game(fresh / data.relative_to(folder))
    _keep(fresh, folder)
    shutil.rmtree(downloads)
    return data


def join(game: Path, shaders: Path, folder: Path) -> None:
    """Make a package `pystk_data` of links to the data of the game and of PySTK."""
    fresh = _fresh_folder(folder)
    package = fresh / "pystk_data"
    data = package / "data"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\n\ndata_dir = Path(__file__).absolute().parent\n"
    )
    # Copied, because links to other files are added to some of its folders.
    shutil.copytree(shaders / "data", data, ignore=shutil.ignore_patterns("po", "replay"))
    for name in _LINKED:
        (data / name).symlink_to(game / name)
    # The code of SuperTuxKart 1.1 does not look into these folders of 1.4.
    _link_files(data / "textures", game / "textures", game / "textures" / "skybox")
    (data / "textures" / "deprecated").symlink_to(game / "textures" / "deprecated")
    _link_files(data / "models", game / "models", game / "gui" / "icons")
    _link_files(data / "gui" / "icons", game / "gui" / "icons")
    _link_files(data / "gfx", game / "gfx")
    _keep(fresh, folder)


def _link_files(folder: Path, *sources: Path) -> None:
    folder.mkdir(exist_ok=True)
    for source in sources:
        for file in sorted(source.iterdir()):
            if file.is_file() and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)


# --- processes and folders ---


def _fresh_folder(folder: Path) -> Path:
    """An empty folder beside `folder`, which `_keep` renames to it."""
    fresh = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def _keep(fresh: Path, folder: Path) -> None:
    """Mark `fresh` as complete and put it in the place of `folder`."""
    (fresh / WHOLE).touch()
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _run_command(command: Sequence[str], show: bool = False, **options: Any) -> str:
    """Run a command; return its output, or let it print that itself.

    Args:
        options: of subprocess.run.

    Raises:
        InputError: it fails.
    """
    pipe = None if show else subprocess.PIPE
    done = subprocess.run(command, stdout=pipe, stderr=pipe, text=True, **options)
    if done.returncode:
        said = "failed; it says why above" if show else last_line(done.stderr or done.stdout)
        raise InputError(f"{' '.join(command[:5])} ...: {said}; run setup again")
    return done.stdout or ""


def last_line(text: str) -> str:
    """The last line that a process printed."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
