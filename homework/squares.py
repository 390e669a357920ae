"""A cache of training pictures at the model's size: decoded and resized once, then memory-mapped.

One file holds all pictures of a run, a slot each: a checksum, then the pixels. Slots are filled
as the pictures are first seen, by whichever process sees them; the checksum is written last, so
that a slot that a kill cut short, or that was damaged since, is decoded afresh. The file's name
depends on path, size and date of every picture, so that a changed one is never taken from it.
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

from .files import InputError, atomic_write

MAX_BYTES = 4_000_000_000  # of all files in the cache's folder
_CHECK = 4  # bytes of a slot's checksum


class SquareCache:
    """Squared pictures of one run by their number; `open_cache` makes it.

    Args:
        path: the file.
        side: of a picture, in pixels.
        count: pictures.
    """

    def __init__(self, path: Path, side: int, count: int) -> None:
        self.path, self.side, self.count = path, side, count
        self._slots: np.ndarray | None = None
        self._file: int | None = None

    def __getstate__(self) -> dict:
        # Each process opens the file itself.
        return {**self.__dict__, "_slots": None, "_file": None}

    @property
    def slots(self) -> np.ndarray:
        """uint8 (pictures, 4 + side * side * 3), on disk."""
        if self._slots is None:
            shape = (self.count, _CHECK + self.side**2 * 3)
            self._slots = np.memmap(self.path, np.uint8, "r", shape=shape)
        return self._slots

    def get(self, index: int) -> np.ndarray | None:
        """A picture, uint8 (side, side, 3); None if it is not there or damaged."""
        slot = self.slots[index]
        check = int.from_bytes(slot[:_CHECK].tobytes(), "little")
        pixels = np.array(slot[_CHECK:])
        if not check or check != _checksum(pixels):
            return None
        return pixels.reshape(self.side, self.side, 3)

    def put(self, index: int, square: np.ndarray) -> None:
        """Keep a picture, if the disk has room."""
        pixels = np.ascontiguousarray(square).reshape(-1)
        start = index * (_CHECK + pixels.size)
        check = _checksum(pixels).to_bytes(_CHECK, "little")
        # Written, not assigned through the map: on a full disk that would end the process.
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            for place, data in ((0, bytes(_CHECK)), (_CHECK, pixels.tobytes()), (0, check)):
                os.lseek(self._file, start + place, os.SEEK_SET)
                os.write(self._file, data)


def open_cache(paths: Sequence[str], side: int, resample: int) -> SquareCache | None:
    """The cache of these pictures; None where it would be too large or cannot be written.

    Raises:
        InputError: a picture cannot be read.
    """
    size = len(paths) * (_CHECK + side**2 * 3)
    if not paths or size > MAX_BYTES:
        return None
    file = cache_dir() / f"{_key(paths, side, resample)}.squares"
    try:
        if not file.is_file() or file.stat().st_size != size:
            _make_room(file, size)
            with atomic_write(file) as fresh:
                fresh.truncate(size)  # zeros that take no room until they are written
        os.utime(file)
        cache = SquareCache(file, side, len(paths))
        _ = cache.slots
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


def _key(paths: Sequence[str], side: int, resample: int) -> str:
    digest = hashlib.blake2b(f"1 {side} {resample}".encode(), digest_size=16)
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        digest.update(f"\n{path} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _make_room(file: Path, size: int) -> None:
    """Remove the files that were used longest ago, as many as are too many."""
    held = [path for path in file.parent.glob("*.squares") if path != file]
    held.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in held:
        size += path.stat().st_size
        if size > MAX_BYTES:
            with suppress(OSError):
                path.unlink()


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels) or 1  # 0 stands for an empty slot
