"""Files that are there whole or not at all, and the private folder of a grading.

    private folder/
        homework/   the submission, under the name that its zip gives it
        data/       the images that are asked about, and the questions without their answers;
                    the submission looks for them beside itself
        tmp/        named as the place for temporary files; the lock lets nobody write there

It is removed at the end of its grading. What a killed grader leaves is removed by one that starts a
day later.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import GraderError

_PREFIX = "grader-private-"
_LEFT_OVER_AFTER_S = 86_400.0  # no grading takes so long


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
    replaceable = False
    with contextlib.suppress(ValueError, LookupError, RecursionError):
        replaceable = path.is_file() and (not there or is_own(there))
    if path.exists() and not replaceable:
        raise GraderError(
            f"{path}: what is there is no result of the grader; move it, or give another name"
        )


def has_fields(text: bytes, *names: str) -> bool:
    """Whether a text is a JSON object with these fields; a ValueError if it is not JSON."""
    found = json.loads(text)
    return isinstance(found, dict) and {*names} <= found.keys()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path`, which takes its place at the end and is on the disk by then.

    Where that fails, or the block raises, what `path` was before stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that was killed; a link there is not followed
    file = open(partial, "xb")  # noqa: SIM115 (closed below)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; GraderError if it cannot be written."""
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise GraderError(f"{path}: cannot be written ({error.strerror})") from None


def lock(descriptor: int) -> None:
    """Keep an open file to this process (not on Windows); OSError if another one has it."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A fresh folder that only this user can read; removed at the end, come what may."""
    _remove_left_over()
    # Resolved, as the lock compares paths without links.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    try:
        (folder / "tmp").mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_over() -> None:
    """Remove this user's private folders of yesterday and before, whose graders were killed."""
    user = os.getuid() if sys.platform != "win32" else 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is somebody else's, or gone
            about = path.lstat()
            if about.st_uid == user and about.st_mtime < time.time() - _LEFT_OVER_AFTER_S:
                shutil.rmtree(path)  # refuses a link, and follows none
