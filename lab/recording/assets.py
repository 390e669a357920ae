"""Fetch and check the data of the game, and join it in the layout that the engine expects.

PySTK has the code of SuperTuxKart 1.1 with its own shaders, effects and settings. Tracks, karts and
textures come from SuperTuxKart 1.4, from a Debian package.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homework.common.errors import InputError

from .process import last_line

SHADERS, GAME, GAME_VERSION = "PySuperTuxKart==1.0.3", "supertuxkart-data", "1.4"
WHOLE = "complete"  # a file that is written last into each part
_LINKED = ("tracks", "karts", "library", "music")
_OWN = (
    *("shaders", "gfx", "gui", "skins", "ttf", "challenges", "grandprix", "stk_config.xml"),
    *("kart_characteristics.xml", "items.xml", "powerup.xml", "graphical_restrictions.xml"),
    *("achievements.xml", "cacert.pem", "supertuxkart.git"),
)
_ICONS = ("parachute", "bomb", "anchor", "shield")  # which the code of 1.1 expects in models/


def fetch_shaders(folder: Path) -> None:
    """Fetch the data folder from the source archive of PySTK 1.0.3."""
    if (folder / WHOLE).exists():
        return
    fresh = fresh_folder(folder)
    # Downloaded, not installed: installing would compile it.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = ["--no-deps", "--no-build-isolation", "--no-binary=:all:", SHADERS]
    run_command([*pip, "download", "-q", "-d", str(fresh), *source])
    archive = next(fresh.glob("*.tar.gz"))
    part = ["--strip-components=1", "--wildcards", "*/data/*"]
    run_command(["tar", "-C", str(fresh), "-xzf", str(archive), *part])
    archive.unlink()
    keep(fresh, folder)


def fetch_game(folder: Path) -> Path:
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
    run_command(["apt-get", "download", GAME], show=True, cwd=downloads)
    archive = max(downloads.glob(f"{GAME}_*.deb"), key=lambda path: path.stat().st_mtime)
    version = run_command(["dpkg-deb", "-f", str(archive), "Version"]).strip()
    if not version.startswith(GAME_VERSION):
        raise InputError(
            f"the registry has {GAME} {version}, and the engine was tried with {GAME_VERSION}; "
            f"give --assets DIR, the data folder of SuperTuxKart {GAME_VERSION}"
        )
    fresh = fresh_folder(folder)
    print(f"unpacking {archive.name}", flush=True)
    run_command(["dpkg-deb", "-x", str(archive), str(fresh)])
    keep(fresh, folder)
    shutil.rmtree(downloads)
    return data


def join(game: Path, shaders: Path, folder: Path) -> None:
    """Make a package `pystk_data` of links to the data of the game and of PySTK."""
    own = shaders / "data"
    fresh = fresh_folder(folder)
    package = fresh / "pystk_data"
    data = package / "data"
    data.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from pathlib import Path\n\ndata_dir = Path(__file__).absolute().parent\n"
    )
    for name in _OWN:
        # Copied, because links to other files are added to some of these folders.
        source = own / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, data / name)
    for name in _LINKED:
        (data / name).symlink_to(game / name)
    # The code of SuperTuxKart 1.1 does not look into these folders of 1.4.
    _link_files(data / "textures", game / "textures", game / "textures" / "skybox")
    (data / "textures" / "deprecated").symlink_to(game / "textures" / "deprecated")
    _link_files(data / "models", game / "models")
    _link_files(data / "gui" / "icons", game / "gui" / "icons")
    _link_files(data / "gfx", game / "gfx")
    for name in _ICONS:
        icon = f"{name}-attach-icon.png"
        if not (data / "models" / icon).exists():
            (data / "models" / icon).symlink_to(game / "gui" / "icons" / icon)
    keep(fresh, folder)


def _link_files(folder: Path, *sources: Path) -> None:
    folder.mkdir(exist_ok=True)
    for source in sources:
        for file in sorted(source.iterdir()):
            if file.is_file() and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)


def check_game(folder: Path) -> None:
    """Refuse a folder that is not the data folder of SuperTuxKart 1.4."""
    missing = [name for name in (*_LINKED, "textures", "models") if not (folder / name).is_dir()]
    if missing:
        raise InputError(
            f"--assets: {folder} has no {missing[0]}; give SuperTuxKart's data folder, like "
            "/usr/share/games/supertuxkart/data"
        )
    found = sorted(path.name for path in folder.glob("supertuxkart.[0-9]*"))
    if found != [f"supertuxkart.{GAME_VERSION}"]:
        version = found[0].split(".", 1)[1] if found else "an unknown version"
        raise InputError(
            f"--assets: {folder} is of {version}; the engine was tried with {GAME_VERSION} only"
        )


# --- processes and folders ---


def fresh_folder(folder: Path) -> Path:
    """An empty folder beside `folder`, which `keep` renames to it."""
    fresh = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def keep(fresh: Path, folder: Path) -> None:
    """Mark `fresh` as complete and put it in the place of `folder`."""
    (fresh / WHOLE).touch()
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def run_command(command: Sequence[str], show: bool = False, **options: Any) -> str:
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
