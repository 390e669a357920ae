"""Grades one submission of a class, and says what its result depends on."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from .. import labels
from ..grade import grade
from ..interpreter import Interpreter
from ..report import Report
from ..slot import Slot

_CODE = Path(__file__).resolve().parent.parent
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")


class Rules(NamedTuple):
    """How a class is graded.

    Attributes:
        python: what runs each submission.
        hidden: files and folders of the class, which no submission may read.
    """

    data_dir: Path
    split: str
    time_limit: float
    memory_bytes: int
    python: Interpreter
    hidden: tuple[Path, ...]


def grade_one(path: Path, rules: Rules, slot: Slot) -> dict[str, Any]:
    """What the journal keeps of a submission: its result without samples, seconds, and
    the adapter's SHA-256.

    Args:
        path: of a copy that nobody changes.

    Raises:
        GraderError: the grader itself cannot work.
        Stopped: the class is stopped.
    """
    start = time.monotonic()
    quiet = Report(out=io.StringIO())
    result = grade(
        path,
        rules.data_dir,
        rules.split,
        rules.time_limit,
        quiet,
        slot=slot,
        hidden=rules.hidden,
        python=rules.python,
    )
    adapter = _adapter_sha256(path) if result["cases"][0]["status"] == "ok" else None
    del result["submission"]  # where it lay for a while
    del result["samples"]  # they tell correct answers
    return {"seconds": time.monotonic() - start, "adapter_sha256": adapter, "result": result}


def depends_on(rules: Rules) -> dict[str, Any]:
    """All that a result depends on beside the submission, ready for JSON.

    Raises:
        GraderError: the split cannot be read.
    """
    asked = labels.asked(rules.data_dir, rules.split)
    pictures = hashlib.sha256()
    for image in sorted({question.image for question in asked}):
        pictures.update(hashlib.sha256((rules.data_dir / image).read_bytes()).digest())
    code = hashlib.sha256()
    for file in sorted([*_CODE.glob("*.py"), *(_CODE / "lock").glob("*.py")]):
        code.update(file.read_bytes())
    return {
        "split": rules.split,
        "time_limit": rules.time_limit,
        "memory_bytes": rules.memory_bytes,
        "questions": digest(asked),
        "pictures": pictures.hexdigest(),
        "grader": code.hexdigest(),
        "python": rules.python.python,
        "packages": rules.python.versions,
    }


def digest(value: Any) -> str:
    """The SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _adapter_sha256(path: Path) -> str | None:
    """Of the adapter's weights in a submission that has been unpacked without complaint."""
    if path.is_dir():
        files = [file for name in _ADAPTER for file in sorted(path.rglob(name))]
        return hashlib.sha256(files[0].read_bytes()).hexdigest() if files else None
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.rpartition("/")[2] in _ADAPTER:
                return hashlib.sha256(archive.read(info)).hexdigest()
    return None
