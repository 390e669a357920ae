"""Files that are there whole or not at all, and the private folder of a grading.

    private folder/
        homework/   the submission, under the name that its zip gives it
        data/       the images that are asked about, and the questions without their answers;
                    the submission looks for them beside itself
        tmp/        named as the place for temporary files; the lock lets nobody write there

It is removed at the end of its grading, or at the start of the next one: beside it lies a file of
its name and `.lock`, which its grader keeps locked as long as it lives. One that nobody has locked
belongs to a grader that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import GraderError

_PREFIX, _SUFFIX = "grader-", ".lock"


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


def lock(descriptor: int, wait: bool = False) -> None:
    """Keep an open file to this process (not on Windows); OSError if another one has it."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A fresh folder that only this user can read; removed at the end, come what may."""
    _remove_left_over()
    with _locked_name() as path:  # before the folder, so that a killed grader leaves none without
        folder = path.with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            (folder / "tmp").mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked_name() -> Iterator[Path]:
    """Make a file of a new name, and keep it locked."""
    while True:
        descriptor, name = tempfile.mkstemp(_SUFFIX, _PREFIX)
        path = Path(name).resolve()
        try:
            lock(descriptor, wait=True)
            if path.exists():  # otherwise another grader removed it before it was locked
                yield path
                return
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


def _remove_left_over() -> None:
    """Remove the private folders of this user's graders that were killed."""
    if sys.platform == "win32":  # without such locks, what a killed grader leaves stays there
        return
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # in use, somebody else's, or gone
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = os.fstat(descriptor)
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid():
                    lock(descriptor)
                    folder = path.with_suffix("")
                    if os.path.lexists(folder) and folder.lstat().st_uid == os.getuid():
                        shutil.rmtree(folder)  # refuses a link, and follows none
                    path.unlink()
            finally:
                os.close(descriptor)
