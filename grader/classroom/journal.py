"""The results of a class as they land: a line of JSON each, on the disk before the next begins.

A line is complete or not there: a last one that a kill or a full disk has cut off is dropped.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
from pathlib import Path
from typing import Any

from .. import reasons, scoring
from ..errors import GraderError, one_line
from .table import CASES

try:
    import fcntl
except ImportError:  # Windows: two gradings into one file are not told apart there
    fcntl = None

_START = b'{"key": "'  # of each line
# The exceptions of reading a field that is missing or has another type.
_ANY_FORM = (
    ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError
)  # fmt: skip


class Journal:
    """Results by key; a context manager that keeps the file to this process.

    Args:
        path: of the file; it is made if it is not there.
        resume: whether results may be in it already.

    Raises:
        GraderError: another process uses it, it is no journal, or it holds results and `resume` is
            False.
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
            if not line.endswith(b"\n") and line.startswith(_START[: len(line)]):
                break
            try:
                key, record = _checked(line)
            except _ANY_FORM as error:
                what = f"{type(error).__name__}: {error}"
                raise GraderError(
                    f"{self._path}: line {number} is no result ({one_line(what, 100)}); delete "
                    "that line to grade its submission again, or the file to grade all again"
                ) from None
            self.results[key] = record
            end += len(line)
        self._file.seek(end)
        self._file.truncate()


def _checked(line: bytes) -> tuple[str, dict[str, Any]]:
    """The key and the record of a line.

    Raises:
        _ANY_FORM: a field is missing that the table, the reasons or the page need.
    """
    record = json.loads(line, parse_float=_finite, parse_constant=_finite)
    key, result, sha256 = record.pop("key"), record["result"], record["sha256"]
    cases, kinds, denied = result["cases"], result["kinds"], result["denied"]
    texts = [sha256, *denied, *kinds, *(case["detail"] for case in cases)]
    texts += [remark for case in cases for remark in case["remarks"]]
    lists = [cases, denied, *(case["remarks"] for case in cases)]
    numbers = [(record["seconds"], 1e9), (result["total"], scoring.MAX_TOTAL)]
    numbers += [(result["accuracy"], 1)] * (result["accuracy"] is not None)
    numbers += [(case["points"], case["max_points"]) for case in cases]
    numbers += [(case["max_points"], scoring.FULL_POINTS) for case in cases]
    numbers += [(kind["right"], kind["asked"]) for kind in kinds.values()]
    for form, is_kept in {
        "key": isinstance(key, str) and re.fullmatch(rf"{re.escape(sha256)}:[0-9a-f]{{64}}", key),
        "text": all(isinstance(text, str) for text in texts),
        "lists": all(isinstance(one, list) for one in lists),
        "numbers": all(type(n) in (int, float) and 0 <= n <= most for n, most in numbers),
        "cases": len(cases) == len(CASES)
        and all(map(str.startswith, (case["name"] for case in cases), CASES.values()))
        and all(case["status"] in ("ok", "failed", "not run") for case in cases),
        "kinds": all(type(kind["asked"]) is int and kind["asked"] > 0 for kind in kinds.values()),
        "total": abs(result["total"] - sum(case["points"] for case in cases)) < 0.01,
        "accuracy": (result["accuracy"] is None) == (reasons.group(result) != reasons.GRADED),
        "adapter_sha256": isinstance(record["adapter_sha256"], str | None),
        "course and lock": {"course", "lock"} <= result.keys(),
    }.items():
        if not is_kept:
            raise ValueError(f"{form} not as the grader writes it")
    return key, record


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value
