"""A cache on disk of each training image's model input: computed once, then memory-mapped.

Kept are the image at the model's size or, where the vision tower is not trained, its image
tokens. One file holds all images of a run, a slot each: a checksum, then the numbers. Slots are
filled as the images are first seen, by the process that sees them; the checksum comes last,
so that a slot which a kill cut short, or which was damaged since, is computed again. The file's
name depends on path, size and date of every image and on what made the numbers, so that nothing
out of date is ever taken from it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..common.files import atomic_write
from ..frames.images import DECODING

MAX_BYTES = 4_000_000_000  # of all files in the cache's folder
SUFFIX = ".slots"
_CHECK = 4  # bytes of a slot's checksum


class ArrayCache:
    """`count` arrays of one shape by their number, in the file `path`; `open_cache` makes it."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: str) -> None:
        self.path, self.count, self._slot = path, count, _slot(shape, dtype)
        self._slots: np.ndarray | None = None
        self._file: int | None = None

    def __getstate__(self) -> dict:
        # Each process opens the file itself.
        return {**self.__dict__, "_slots": None, "_file": None}

    def map(self) -> np.ndarray:
        """The slots, "check" and "data" of each, on disk."""
        if self._slots is None:
            self._slots = np.memmap(self.path, self._slot, "r", shape=(self.count,))
        return self._slots

    def get(self, index: int) -> np.ndarray | None:
        """An array; None if it is not there or damaged."""
        slot = self.map()[index]
        if not slot["check"]:
            return None
        data = np.array(slot["data"])
        return data if slot["check"] == _checksum(data.tobytes()) else None

    def put(self, index: int, array: np.ndarray) -> None:
        """Keep an array, if the disk has room."""
        data = array.astype(self._slot["data"].base, copy=False).tobytes()
        start = index * self._slot.itemsize
        check = _checksum(data).to_bytes(_CHECK, "little")
        # Written, not assigned through the map: on a full disk that would end the process.
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            for place, part in ((0, bytes(_CHECK)), (_CHECK, data), (0, check)):
                os.lseek(self._file, start + place, os.SEEK_SET)
                os.write(self._file, part)


def open_cache(
    paths: Sequence[str], shape: tuple[int, ...], dtype: str, maker: str
) -> ArrayCache | None:
    """The cache of these images; None where it would be too large or cannot be written.

    Args:
        shape, dtype: of what is kept of an image.
        maker: says all that it depends on besides the images and how `open_image` decodes them.

    Raises InputError if an image cannot be read.
    """
    size = len(paths) * _slot(shape, dtype).itemsize
    if not paths or size > MAX_BYTES:
        return None
    file = cache_dir() / f"{_key(paths, f'{shape} {dtype} {maker}')}{SUFFIX}"
    try:
        if not file.is_file() or file.stat().st_size != size:
            _make_room(file, size)
            with atomic_write(file) as fresh:
                fresh.truncate(size)  # zeros that take no room until they are written
        os.utime(file)
        cache = ArrayCache(file, len(paths), shape, dtype)
        cache.map()
    except (OSError, ValueError):
        return None  # a full or read-only disk costs time, not the run
    return cache


def cache_dir() -> Path:
    """The user's folder for what can be made again."""
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home) / "homework"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "homework"
    return Path.home() / ".cache" / "homework"


def _slot(shape: tuple[int, ...], dtype: str) -> np.dtype:
    return np.dtype([("check", "<u4"), ("data", dtype, shape)])


def _key(paths: Sequence[str], described: str) -> str:
    digest = hashlib.blake2b(f"{DECODING} {described}".encode(), digest_size=16)
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        digest.update(f"\n{path} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _make_room(file: Path, size: int) -> None:
    """Remove the files that were used longest ago, as many as are too many."""
    held = [path for path in file.parent.glob(f"*{SUFFIX}") if path != file]
    held.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in held:
        size += path.stat().st_size
        if size > MAX_BYTES:
            with suppress(OSError):
                path.unlink()


def _checksum(data: bytes) -> int:
    return zlib.crc32(data) or 1  # 0 stands for an empty slot
