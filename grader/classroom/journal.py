"""The results of a class as they land: a line of JSON each, on the disk before the next begins.

A line is complete or not there: a last one that a kill or a full disk has cut off is dropped.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from ..errors import GraderError, one_line

try:
    import fcntl
except ImportError:  # Windows: two gradings into one file are not told apart there
    fcntl = None


class Journal:
    """Results by key; a context manager that keeps the file to this process.

    Args:
        path: of the file; it is made if it is not there.
        resume: whether results may be in it already.

    Raises:
        GraderError: another process uses it, it is no journal, or it has results that were not
            asked for.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.results: dict[str, dict[str, Any]] = {}
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise GraderError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            self._keep_to_this_process()
            self._read()
            if self.results and not resume:
                raise GraderError(
                    f"{path}: holds {len(self.results)} results of an earlier run; give --resume "
                    "to go on from them, or delete it to grade all again"
                )
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Write a result; it is on the disk when this returns.

        Raises:
            GraderError: the disk is full.
        """
        line = json.dumps({"key": key} | record).encode() + b"\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise GraderError(f"{self._path}: cannot be written ({error.strerror})") from None
            self.results[key] = record

    def _keep_to_this_process(self) -> None:
        if fcntl:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise GraderError(
                    f"{self._path}: another grading writes into it; wait for it, or give another "
                    "--output"
                ) from None

    def _read(self) -> None:
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                self.results[record.pop("key")] = record
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise GraderError(
                    f"{self._path}: line {number} is no result ({one_line(str(error), 100)}); "
                    "delete the file to grade all again"
                ) from None
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
