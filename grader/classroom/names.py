"""Finds the submissions of a class, and reads who they are from by their names.

Canvas names a download `STUDENT_USER_SUBMISSION_FILE`, where USER and SUBMISSION are Canvas's
numbers: `doejane_12345_67890_jd42.zip`. `_LATE` after the student marks a late one, and a file that
was handed in again under its old name gets `-1`, `-2` ... before its ending. Other files are plain:
`jd42.zip`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ..errors import GraderError

_CANVAS = re.compile(
    r"(?P<student>.+?)(?:_(?P<late>late))?_(?P<user>\d+)_(?P<number>\d+)_(?P<file>.+)", re.I
)
_TRY = re.compile(r"(?P<id>.+)-(?P<number>\d{1,2})")


class Submission(NamedTuple):
    """A file that was handed in.

    Attributes:
        id: the file's name without its ending, and without what Canvas adds.
        file: its path inside the class's folder or zip.
        student, user: the name and the number that Canvas gives the student; empty without Canvas.
        late: whether Canvas marks it as late.
        order: later ones of the same student are greater.
        modified: the file's date, local time.
    """

    id: str
    file: str
    student: str
    user: str
    late: bool
    order: tuple[bool, int, int, str]
    modified: datetime

    @property
    def key(self) -> str:
        """The same for all files of one student."""
        return self.user or self.id.casefold()


class Found(NamedTuple):
    """The submissions of a class.

    Attributes:
        counting: one for each student, the last one, sorted by ID.
        superseded: earlier ones of the same students.
        ignored: other files.
    """

    counting: list[Submission]
    superseded: list[Submission]
    ignored: list[str]


class Classroom:
    """A folder or a zip of submissions.

    Args:
        path: of it.

    Raises:
        GraderError: it is neither, is damaged, or is a submission itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            self._files = {
                str(file.relative_to(path).as_posix()): datetime.fromtimestamp(file.stat().st_mtime)
                for file in files
            }
        else:
            self._files = self._open_zip()
        if "homework/__init__.py" in self._files or "__init__.py" in self._files:
            raise GraderError(
                f"{path}: is one submission, not a class; use python3 -m grader {path}"
            )

    def _open_zip(self) -> dict[str, datetime]:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except FileNotFoundError:
            raise GraderError(f"{self._path}: no such file or folder") from None
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise GraderError(
                f"{self._path}: neither a folder nor a readable zip ({error}); "
                "name the folder or the zip that the submissions are in"
            ) from None
        members = (info for info in self._zip.infolist() if not info.is_dir())
        # A zip may claim any date, month 0 included.
        return {info.filename: _date(info.date_time) for info in members}

    def find(self) -> Found:
        """Whose submission each file is.

        Raises:
            GraderError: there are no submissions.
        """
        read = {file: _read_name(file, date) for file, date in self._files.items()}
        found = [submission for submission in read.values() if submission]
        ignored = sorted(file for file, one in read.items() if not one and not _hidden(file))
        if not found:
            raise GraderError(
                f"{self._path}: no submissions in it; they are named ID.zip, or as Canvas names "
                "them: STUDENT_12345_67890_ID.zip"
            )
        last: dict[str, Submission] = {}
        for submission in sorted(_with_tries(found), key=lambda one: one.order):
            last[submission.key] = submission
        counting = sorted(last.values(), key=lambda one: (one.id.casefold(), one.file))
        kept = {one.file for one in counting}
        superseded = sorted((one for one in found if one.file not in kept), key=lambda o: o.file)
        return Found(counting, superseded, ignored)

    def sha256(self, submission: Submission) -> str:
        """The SHA-256 of its bytes."""
        with self._reading(submission) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextlib.contextmanager
    def file(self, submission: Submission, folder: Path) -> Iterator[Path]:
        """The submission as a file, for the length of a `with` block.

        Args:
            folder: where one that is inside a zip is put.
        """
        if not self._zip:
            yield self._path / submission.file
            return
        target = folder / "submission.zip"
        with self._reading(submission) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink)
        yield target

    @contextlib.contextmanager
    def _reading(self, submission: Submission) -> Iterator[IO[bytes]]:
        try:
            with (
                self._zip.open(submission.file)
                if self._zip
                else open(self._path / submission.file, "rb")
            ) as file:
                yield file
        # zipfile raises a dozen types on malformed input; see `submission.unpack`.
        except (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError) as error:
            raise GraderError(
                f"{self._path}: {submission.file} in it cannot be read ({error}); "
                "download it again or check its permissions"
            ) from None


def hours_late(submission: Submission, due: datetime | None) -> float | None:
    """Hours from the due date to the file's date; 0 if it was in time, None without a due date."""
    if due is None:
        return None
    return max(0.0, round((submission.modified - due).total_seconds() / 3600, 2))


def _read_name(file: str, date: datetime) -> Submission | None:
    """A submission, or None for another file."""
    path = PurePosixPath(file)
    is_zip = path.suffix.lower() == ".zip"
    if _hidden(file):
        return None
    if not (found := _CANVAS.fullmatch(path.name)):
        return (
            Submission(path.stem, file, "", "", False, (True, 0, 0, file), date) if is_zip else None
        )
    name = PurePosixPath(found["file"]).stem
    again = _TRY.fullmatch(name)
    order = (is_zip, int(found["number"]), int(again["number"]) if again else 0, file)
    return Submission(
        again["id"] if again else name,
        file,
        found["student"],
        found["user"],
        bool(found["late"]),
        order,
        date,
    )


def _with_tries(found: Iterable[Submission]) -> list[Submission]:
    """Plain `ID-1.zip` beside `ID.zip` is the second try of ID; alone it is an ID like others."""
    found = list(found)
    plain = {one.id for one in found if not one.user}
    tried = []
    for one in found:
        again = _TRY.fullmatch(one.id)
        if again and not one.user and again["id"] in plain:
            one = one._replace(id=again["id"], order=(True, 0, int(again["number"]), one.file))
        tried.append(one)
    return tried


def _hidden(file: str) -> bool:
    """Whether a system has put the file there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in file.split("/"))


def _date(parts: tuple[int, ...]) -> datetime:
    with contextlib.suppress(ValueError):
        return datetime(*parts)
    return datetime(1980, 1, 1)
