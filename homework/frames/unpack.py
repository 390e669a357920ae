"""Unpack a dataset archive, which must not write outside the data folder.

The archive comes from the network, so all its names and sizes are checked before the first file
is written.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..common.errors import InputError, note
from .split import SPLITS

MAX_UNPACKED_BYTES = 5_000_000_000
MAX_ENTRIES = 500_000
SPARE_BYTES = 100_000_000  # disk space to leave free
_CHUNK_BYTES = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError)


class DamagedArchive(InputError):
    """The archive is not a complete zip and must be downloaded again."""


def unpack(archive: Path, data_dir: Path) -> dict[str, dict[str, int]]:
    """Unpack the splits of `archive` into `data_dir`; keep files that are there and complete.

    Returns:
        Split -> {"files": number of files, "bytes": their unpacked size}.

    Raises DamagedArchive for what is no zip or has a wrong checksum, InputError if it has no split,
    something in it is not safe, or the disk is too full.
    """
    from tqdm import tqdm

    try:
        with zipfile.ZipFile(archive) as source:
            files = plan(source.infolist(), archive)
            _check_folders(files, data_dir)
            missing = {
                data_dir / target: info
                for target, info in files.items()
                if not _is_there(info, data_dir / target)
            }
            total = sum(info.file_size for info in missing.values())
            check_space(data_dir, total)
            with tqdm(total=total, unit="B", unit_scale=True, desc="unpack") as bar:
                for path, info in missing.items():
                    _write(source, info, path, bar.update)
    except _DAMAGED as error:
        raise DamagedArchive(f"{archive}: damaged ({error})") from None
    return {
        split: {"files": len(sizes), "bytes": sum(sizes)}
        for split in SPLITS
        if (sizes := [info.file_size for file, info in files.items() if file.parts[0] == split])
    }


def plan(infos: list[zipfile.ZipInfo], archive: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Path in the data folder -> file of the archive, without a folder around the splits.

    Raises InputError if a name, size or kind of file anywhere in the archive is not safe.
    """
    total = sum(info.file_size for info in infos)
    if total > MAX_UNPACKED_BYTES or len(infos) > MAX_ENTRIES:
        raise _refusal(archive, f"it would unpack to {len(infos):,} files of {total:,} bytes")
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    taken: dict[str, str] = {}  # path on a file system that ignores case -> name
    for info in infos:
        if fault := _fault(info):
            raise _refusal(archive, f"{info.orig_filename[:80]!r} {fault}")
        parts = PurePosixPath(info.filename).parts
        junk = "__MACOSX" in parts or parts[-1:] == (".DS_Store",) or "/._" in f"/{info.filename}"
        inside = parts if parts[:1] and parts[0] in SPLITS else parts[1:]
        if info.is_dir() or junk or len(inside) < 2 or inside[0] not in SPLITS:
            continue
        key = "/".join(inside).casefold()
        if key in taken:
            raise _refusal(archive, f"{taken[key]!r} and {info.filename!r} clash")
        taken[key] = info.filename
        files[PurePosixPath(*inside)] = info
    if not files:
        raise InputError(f"{archive}: holds no folder {', '.join(SPLITS)}; check --url")
    return files


def check_space(folder: Path, needed: int) -> None:
    """Raise an InputError unless `needed` bytes and a reserve are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise InputError(
            f"{folder}: needs {(needed + SPARE_BYTES) / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; "
            "make room or give another --data_dir"
        )


def _refusal(archive: Path, reason: str) -> InputError:
    return InputError(f"{archive}: refused, {reason}; nothing was unpacked, check --url")


def _fault(info: zipfile.ZipInfo) -> str | None:
    """Why an entry is not safe to unpack; None if it is safe."""
    name = info.orig_filename
    if name.startswith("/") or "\\" in name or ":" in name or not name.isprintable():
        return "is an absolute name or has a character that is not portable"
    if not name or ".." in name.split("/") or name.count("/") > 32:
        return "leads out of the folder, or lies too deep in it"
    if info.flag_bits & 0x1:
        return "is encrypted"
    # zipfile unpacks these two in pieces; of the others a piece can be gigabytes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed by another method than deflate"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    return None


def _check_folders(files: dict[PurePosixPath, zipfile.ZipInfo], data_dir: Path) -> None:
    """Refuse existing folders that link to a place outside the data folder."""
    root = data_dir.resolve()
    for folder in {data_dir / file.parent for file in files}:
        if not folder.resolve().is_relative_to(root):
            raise InputError(f"{folder}: links to a place outside {data_dir}; remove the link")


def _is_there(info: zipfile.ZipInfo, path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != info.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == info.CRC


def _write(
    source: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, progress: Callable[[int], object]
) -> None:
    """Write one file under a partial name and rename it, so that it is always complete.

    Unlike files.atomic_write it does not wait for the disk, which for 58,000 files takes far
    longer than unpacking. The caller syncs once, before it writes the manifest.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith("_qa_pairs.json") and path.is_file():
        _keep(path)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that was killed
    try:
        with source.open(info) as packed, open(partial, "xb") as file:
            while chunk := packed.read(_CHUNK_BYTES):  # raises BadZipFile on a wrong checksum
                progress(file.write(chunk))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _keep(path: Path) -> None:
    """Move a question file aside: `generate` writes files of such names, and people do."""
    number = next(n for n in itertools.count(1) if not os.path.lexists(f"{path}.{n}"))
    os.replace(path, f"{path}.{number}")
    note(f"{path}: another file than the dataset's; it is now {path.name}.{number}")
