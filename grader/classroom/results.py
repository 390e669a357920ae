"""The results of a class: how one comes about, what it depends on, and the file that keeps it.

The file (`Journal`) has a line of JSON for each, on the disk before the next grading begins. A line
is complete or not there: a last one that a kill or a full disk has cut off is dropped.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from .. import files, labels
from ..errors import GraderError, one_line
from ..grade import grade
from ..interpreter import Interpreter
from ..report import Report
from ..usage import Slot

_CODE = Path(__file__).resolve().parent.parent
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_START = b'{"key": "'  # of each line


class Rules(NamedTuple):
    """How a class is graded."""

    data_dir: Path
    split: str
    time_limit: float
    memory_bytes: int
    python: Interpreter  # that runs each submission
    hidden: tuple[Path, ...]  # files and folders of the class, which no submission may read


def grade_one(path: Path, rules: Rules, slot: Slot) -> dict[str, Any]:
    """What the journal keeps of a submission: result without samples, seconds, adapter's SHA-256.

    `path` is of a copy that nobody changes. GraderError if the grader cannot work, Stopped if the
    class is stopped.
    """
    start = time.monotonic()
    asked, quiet = (rules.data_dir, rules.split, rules.time_limit), Report(out=io.StringIO())
    result = grade(path, *asked, quiet, slot=slot, hidden=rules.hidden, python=rules.python)
    adapter = _adapter_sha256(path) if result["cases"][0]["status"] == "ok" else None
    del result["submission"]  # where it lay for a while
    del result["samples"]  # they tell correct answers
    return {"seconds": time.monotonic() - start, "adapter_sha256": adapter, "result": result}


def depends_on(rules: Rules) -> dict[str, Any]:
    """All that a result depends on beside the submission, ready for JSON."""
    asked = labels.asked(rules.data_dir, rules.split)
    images = sorted({question.image for question in asked})
    pictures = [hashlib.sha256((rules.data_dir / i).read_bytes()).hexdigest() for i in images]
    code = sorted([*_CODE.glob("*.py"), *(_CODE / "lock").glob("*.py")])
    return {
        "split": rules.split,
        "time_limit": rules.time_limit,
        "memory_bytes": rules.memory_bytes,
        "questions": digest(asked),
        "pictures": digest(pictures),
        "grader": hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest(),
        "python": rules.python.python,
        "packages": rules.python.versions,
    }


def digest(value: Any) -> str:
    """The SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _adapter_sha256(path: Path) -> str | None:
    """Of the adapter's weights in a submission that has been unpacked without complaint."""
    content = None
    if path.is_dir():
        found = [file for name in _ADAPTER for file in sorted(path.rglob(name))]
        content = found[0].read_bytes() if found else None
    else:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rpartition("/")[2] in _ADAPTER]
            content = archive.read(names[0]) if names else None
    return None if content is None else hashlib.sha256(content).hexdigest()


class Journal:
    """Results by key; a context manager that makes the file and keeps it to this process.

    Raises:
        GraderError: another process uses it, it is no journal, or it holds results already and
            `resume` is False.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.results: dict[str, dict[str, Any]] = {}
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            try:
                files.lock(self._file.fileno())
            except OSError:
                raise GraderError(
                    f"{path}: another grading writes into it; wait for it, or give another --output"
                ) from None
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
        """Write a result; it is on the disk when this returns. GraderError if the disk is full."""
        whole = {"key": key} | record
        line = json.dumps(whole | {"line_sha256": digest(whole)}).encode() + b"\n"
        with self._lock:
            if key in self.results:  # of an equal file, graded at the same time
                return
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise GraderError(f"{self._path}: cannot be written ({error.strerror})") from None
            self.results[key] = record

    def _read(self) -> None:
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n") and line.startswith(_START[: len(line)]):
                break
            try:
                record = json.loads(line)
                if record.pop("line_sha256", None) != digest(record):
                    raise ValueError("not as the grader wrote it")
                self.results[record.pop("key")] = record
            except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
                what = f"{type(error).__name__}: {error}"
                raise GraderError(
                    f"{self._path}: line {number} is no result ({one_line(what, 100)}); delete "
                    "that line to grade its submission again, or the file to grade all again"
                ) from None
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
