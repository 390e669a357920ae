"""The private folder of a grading: removed at its end, or at the start of the next one.

    private folder/
        homework/   the submission, under the name that its zip gives it
        data/       the pictures that are asked about, and the questions without their answers;
                    the submission looks for them beside itself
        tmp/        named as the place for temporary files; the lock lets nobody write there

Beside it lies a file of its name and `.lock`, which its grader keeps locked as long as it lives.
One that nobody has locked belongs to a grader that was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed grader leaves stays there
    fcntl = None

_PREFIX, _SUFFIX = "grader-", ".lock"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A fresh folder that only this user can read; removed at the end, come what may."""
    _remove_left_over()
    with _lock() as path:  # before the folder, so that a killed grader leaves none without
        folder = path.with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            (folder / "tmp").mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock() -> Iterator[Path]:
    """Make a file of a new name, and keep it locked."""
    while True:
        descriptor, name = tempfile.mkstemp(_SUFFIX, _PREFIX)
        path = Path(name).resolve()
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():  # otherwise another grader removed it before it was locked
                yield path
                return
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


def _remove_left_over() -> None:
    """Remove the private folders of this user's graders that were killed."""
    if not fcntl:
        return
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # in use, somebody else's, or gone
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = os.fstat(descriptor)
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    folder = path.with_suffix("")
                    if os.path.lexists(folder) and folder.lstat().st_uid == os.getuid():
                        shutil.rmtree(folder)  # refuses a link, and follows none
                    path.unlink()
            finally:
                os.close(descriptor)
