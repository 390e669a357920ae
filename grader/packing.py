"""Packs a homework folder into a zip: which files it may hold, and the zip's bytes.

For bundle.py, and for the grader where it is given a folder. Needs only the standard library.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from .files import replacing

TOP = "homework"
# Under 50 MB, read as decimal megabytes, the stricter of the two readings.
LIMIT_BYTES = 50_000_000
MAX_DEPTH = 32  # folders above a file, as the grader has it

# Never packed, at any depth; a folder that matches is left out with all it holds: caches, what
# training leaves beside the adapter, logs, half-written files and other zips.
LEFT_OUT = (
    ".*", "__pycache__", "__MACOSX", "*.pyc", "*.egg-info",
    "checkpoint-*", "optimizer.pt", "scheduler.pt", "rng_state*", "training_args.bin",
    "trainer_state.json", "curves.png",
    "runs", "*.log", "events.out.tfevents*",
    "*.partial", "*.tmp", "*.zip",
)  # fmt: skip

# base.json is written last: without it the other two may be of two different trainings.
ADAPTER = (
    "vlm_model/adapter_config.json",
    "vlm_model/adapter_model.safetensors",
    "vlm_model/base.json",
)
VENV = "pyvenv.cfg"  # marks a virtual environment
# Fixed, so that the bytes depend on the files' names and contents alone.
DATE = (1980, 1, 1, 0, 0, 0)


class BundleError(Exception):
    """The folder cannot be packed. One line: what is wrong, where, and how to fix it."""


def members(folder: str | Path) -> dict[str, Path]:
    """The files that may be packed: name inside the zip (`homework/...`) -> file, sorted by name.

    Of a virtual environment there is only its file pyvenv.cfg.

    Raises:
        BundleError: no such folder, no `__init__.py` in it, or an entry that is neither a
            plain file nor a folder (links are never followed).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; run this where the homework folder lies")
    if not (folder / "__init__.py").is_file():
        raise BundleError(f"{folder}: no __init__.py in it; name the homework folder itself")
    return dict(sorted(_walk(folder, TOP).items()))


def _walk(folder: Path, prefix: str) -> dict[str, Path]:
    if (folder / VENV).is_file():
        return {f"{prefix}/{VENV}": folder / VENV}
    found: dict[str, Path] = {}
    for entry in os.scandir(folder):
        name, path = f"{prefix}/{entry.name}", Path(entry.path)
        if any(fnmatchcase(entry.name, pattern) for pattern in LEFT_OUT):
            continue
        if not entry.name.isprintable() or any(letter in entry.name for letter in "\\:"):
            raise BundleError(f"{str(path)!r}: the grader refuses this name; rename the file")
        if entry.is_symlink():
            raise BundleError(f"{path}: is a link; put the file itself there or delete the link")
        if entry.is_dir(follow_symlinks=False):
            if name.count("/") >= MAX_DEPTH:
                raise BundleError(f"{path}: is over {MAX_DEPTH} folders deep; move or delete it")
            found |= _walk(path, name)
        elif entry.is_file(follow_symlinks=False):
            found[name] = path
        else:
            raise BundleError(f"{path}: is not a plain file; delete it")
    return found


def write_zip(files: Mapping[str, Path], target: Path) -> list[zipfile.ZipInfo]:
    """Write a zip, whole or not at all; returns its entries, sizes filled in.

    Args:
        files: name inside the zip -> file, in the order to write.

    Raises:
        BundleError: the zip would be over LIMIT_BYTES; names the files to delete.
    """
    with replacing(target) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in files.items():
                _add(archive, name, path, files)
        if file.seek(0, os.SEEK_END) > LIMIT_BYTES:
            raise BundleError(_too_large(files))
    return archive.infolist()


def _add(archive: zipfile.ZipFile, name: str, path: Path, files: Mapping[str, Path]) -> None:
    info = zipfile.ZipInfo(name, DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, on every system, so that the mode below is read as one
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.file_size = path.stat().st_size
    with open(path, "rb") as source, archive.open(info, "w") as sink:
        while chunk := source.read(1 << 20):
            sink.write(chunk)
            # Stop early: a forgotten multi-gigabyte file would be packed for minutes.
            if archive.fp and archive.fp.tell() > LIMIT_BYTES:
                raise BundleError(_too_large(files))


def _too_large(files: Mapping[str, Path]) -> str:
    """The line that says which files to delete, largest first."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))
    chosen, left = [], sum(sizes.values())
    for name in largest:
        if left > LIMIT_BYTES and not _needed(name):
            chosen.append(name)
            left -= sizes[name]
    fix, named = "delete", chosen
    if left > LIMIT_BYTES or not chosen:
        fix, named = "delete or shrink some of its largest files:", largest[:5]
    listed = ", ".join(f"{name} ({size_text(sizes[name])})" for name in named)
    return f"the zip would be over {size_text(LIMIT_BYTES)}: {fix} {listed}"


def _needed(name: str) -> bool:
    inside = name.removeprefix(f"{TOP}/")
    return inside.endswith(".py") or inside.startswith("embedded_base/") or inside in ADAPTER


def size_text(size: int) -> str:
    """A size in bytes as decimal megabytes, or kilobytes where those would be 0.0."""
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def base_warning(folder: str | Path) -> str | None:
    """A line if the adapter of a homework folder names as its base a folder of this machine."""
    file = Path(folder) / ADAPTER[2]
    base = json.loads(file.read_bytes())["base"] if file.is_file() else ""
    if not os.path.isabs(base):
        return None
    return (
        f"WARNING: the adapter's base is the folder {base} of this machine, which a grader cannot "
        "read: the points will be 0. Train with --base embedded_base or a SmolVLM's hub name"
    )
