"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import GraderError


def check_output(path: Path, is_own: Callable[[bytes], bool]) -> None:
    """Find out before the grading, not after it, that an output may not or cannot be written.

    Args:
        is_own: whether the content of a file is what the grader writes there; it may raise a
            ValueError or a LookupError if not.

    Raises:
        GraderError: it is a folder, its folder is missing or may not be written to, or there is a
            file that the grader did not write.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise GraderError(f"{path}: cannot be written: give a file name in an existing folder")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            there = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise GraderError(
            f"{path}: cannot be written ({error.strerror}); give a file in a folder that you may "
            "write to"
        ) from None
    try:
        replaceable = path.is_file() and (not there or is_own(there))
    except (ValueError, LookupError, RecursionError):
        replaceable = False
    if path.exists() and not replaceable:
        raise GraderError(
            f"{path}: what is there is no result of the grader; move it, or give another name"
        )


def has_fields(text: bytes, *names: str) -> bool:
    """Whether a text is a JSON object with these fields.

    Raises:
        ValueError: it is not JSON.
    """
    found = json.loads(text)
    return isinstance(found, dict) and {*names} <= found.keys()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside `path` and rename it; it is on the disk when this returns.

    Raises:
        GraderError: it cannot be written; what `path` was before stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        partial.unlink(missing_ok=True)  # of a run that was killed; a link there is not followed
        file = open(partial, "xb")  # noqa: SIM115
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise GraderError(f"{path}: cannot be written ({error.strerror})") from None
