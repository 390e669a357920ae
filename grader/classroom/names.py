"""Reads whose submission a file is from its name and its folders. Pure.

Canvas names a download `STUDENT_USER_SUBMISSION_FILE`, where USER and SUBMISSION are Canvas's
numbers: `doejane_12345_67890_jd42.zip`. `_LATE` after the student marks a late one, and a file that
was handed in again under its old name gets `-1`, `-2` ... before its ending. Moodle has a folder
`STUDENT_NUMBER_assignsubmission_file_`, or puts that before the file's name. Other files are plain:
`jd42.zip`. Where plain files in several folders have one name, the folders tell the students.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import NamedTuple

_CANVAS = re.compile(
    r"(?P<student>.+?)(?:_(?P<late>late))?_(?P<user>\d+)_(?P<number>\d+)_(?P<file>.+)", re.I
)
_MOODLE = re.compile(r"(?P<student>.+)_(?P<number>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)", re.I)
# What a browser, Windows, macOS and Google Drive make of a second file of the same name. An ID has
# no blanks and brackets.
_COPY = re.compile(
    r"(?P<id>.+?)(?: ?\((?P<n>\d{1,3})\)| (?:- )?(?:copy|kopie|copie|copia)(?: ?\(?(?P<m>\d+)\)?)?)"
    r"|(?:copy (?:\(\d+\) )?of|kopie von|copie de|copia de) (?P<of>.+)",
    re.I,
)
# A later file, or the ID of another student.
_TRY = re.compile(r"(?P<id>.+?)[-_](?:v?(?P<n>\d{1,2})|copy[-_]?(?P<m>\d{0,2}))", re.I)


class File(NamedTuple):
    """A file of a class."""

    modified: datetime  # its date, local time
    fault: str = ""  # why it is not read, such as that it is a link


class Submission(NamedTuple):
    """What was handed in."""

    id: str  # the file's name without its ending, and without what Canvas and others add
    file: str  # its path inside the class's folder or zip
    student: str  # the name that Canvas or another platform gives the student; may be empty
    user: str  # Canvas's number of the student; may be empty
    late: bool  # whether Canvas marks it as late
    order: tuple[bool, int, int, datetime, str]  # later ones of the same student are greater
    modified: datetime  # the file's date, local time
    key: str  # the same for all files of one student
    fault: str = ""  # why it is not read
    remark: str = ""  # which other files may be the same student's


class Students:
    """Tells which student each file of a class belongs to.

    Args:
        naming: "canvas": names of Canvas's form are read as Canvas's; "plain": none are; "auto":
            if all zips have the form, no two the same number, and each user one name.
        user_of: Canvas's number of the student whom an ID names in the gradebook; empty if nobody.
    """

    def __init__(self, naming: str, user_of: Callable[[str], str]) -> None:
        self._naming, self._user_of = naming, user_of

    def read(self, files: Mapping[str, File]) -> list[Submission]:
        """The submissions; other files are left out, unless they cannot be read."""
        canvas = {path: m for path in files if (m := _CANVAS.fullmatch(path.rpartition("/")[2]))}
        zips = [path for path in files if _is_zip(path)]
        plain = [path for path in files if _is_zip(path) or files[path].fault]
        if self._naming == "plain" or (self._naming == "auto" and not _all_canvas(zips, canvas)):
            canvas = {}
        found = [self._of_canvas(path, files[path], match) for path, match in canvas.items()]
        return found + self._plain({path: files[path] for path in plain if path not in canvas})

    def key(self, id: str) -> str:
        """The same for all IDs of one student."""
        return self._user_of(id) or f"ID {_normal(id)}"

    def _of_canvas(self, path: str, file: File, match: re.Match[str]) -> Submission:
        name, again = _without_copies(PurePosixPath(match["file"]).stem)
        if tried := re.fullmatch(r"(.+)-(\d{1,2})", name):
            name, again = tried[1], again + int(tried[2])
        order = (_is_zip(path), int(match["number"]), again, file.modified, path)
        who = match["student"], match["user"], bool(match["late"])
        return Submission(name, path, *who, order, file.modified, match["user"], file.fault)

    def _plain(self, files: Mapping[str, File]) -> list[Submission]:
        read = {path: _Plain.read(path) for path in files}
        names = {_normal(one.name) for one in read.values()}
        found, alike = [], defaultdict(list)

        def add(path: str, id: str, again: int, remark: str = "") -> None:
            file, student = files[path], read[path].student
            order = (True, 0, again, file.modified, path)
            who = student, "", False, order, file.modified, self.key(id), file.fault, remark
            found.append(Submission(id, path, *who))

        for path, one in read.items():
            tried = _TRY.fullmatch(one.name)
            again = one.again + (int(tried["n"] or tried["m"] or 1) if tried else 0)
            if self._user_of(one.name):
                add(path, one.name, one.again)
            elif tried and self._user_of(tried["id"]):
                add(path, tried["id"], again)
            elif known := [part for part in one.folders if self._user_of(part)]:
                add(path, known[-1], again)
            else:
                stem = tried["id"] if tried and _normal(tried["id"]) in names else one.name
                alike[_normal(stem)].append(path)
        for paths in alike.values():
            ids, remark = _ids({path: read[path] for path in paths}, read.values())
            for path in paths:
                add(path, ids[path], read[path].again, remark)
        return found


class _Plain(NamedTuple):
    """A name that is not Canvas's: its folders, its name without copies' marks and ending, which
    copy it is, and the student that Moodle names."""

    folders: tuple[str, ...]
    name: str
    again: int
    student: str

    @classmethod
    def read(cls, path: str) -> _Plain:
        parts, student = path.split("/"), ""
        for place, part in enumerate(parts):
            if match := _MOODLE.fullmatch(part):
                student = match["student"]
                parts[place] = f"{student}_{match['number']}"
                parts[place + 1 :] = parts[place + 1 :] or [match["file"]]
                break
        stem = parts[-1][:-4] if _is_zip(parts[-1]) else parts[-1]
        return cls(tuple(parts[:-1]), *_without_copies(stem), student)


def _ids(files: Mapping[str, _Plain], every: Iterable[_Plain]) -> tuple[dict[str, str], str]:
    """The IDs of files whose names are alike, and the remark that they may be one student's."""
    folders = {one.folders for one in files.values()}
    names = {_normal(one.name) for one in files.values()}
    doubt = f"perhaps of one student: {', '.join(sorted(files))}"
    if len(folders) == 1:
        return {path: one.name for path, one in files.items()}, doubt if len(names) > 1 else ""
    inside = {folder: {_normal(o.name) for o in every if o.folders == folder} for folder in folders}
    of_folder = dict(zip(folders, _distinct([*folders]), strict=True))
    if all(of_folder.values()) and all(len(found) == 1 for found in inside.values()):
        return {path: of_folder[one.folders] for path, one in files.items()}, ""
    ids = {p: "/".join(filter(None, (of_folder[o.folders], o.name))) for p, o in files.items()}
    return ids, doubt


def _distinct(folders: Sequence[tuple[str, ...]]) -> list[str]:
    """The folders without the levels that all have, at the start and at the end."""
    for end in (0, -1):
        while all(folders) and len({folder[end] for folder in folders}) == 1:
            folders = [folder[1:] if end == 0 else folder[:-1] for folder in folders]
    return ["/".join(folder) for folder in folders]


def _all_canvas(zips: Sequence[str], canvas: Mapping[str, re.Match[str]]) -> bool:
    """Whether the zips of a class have Canvas's names: `hw_4_2025_ef3.zip` may be a student's."""
    matches = [canvas[path] for path in zips if path in canvas]
    numbers = {match["number"] for match in matches}
    users = {match["user"]: match["student"].casefold() for match in matches}
    names = {(match["user"], match["student"].casefold()) for match in matches}
    return len(matches) == len(zips) == len(numbers) and len(users) == len(names)


def _without_copies(name: str) -> tuple[str, int]:
    """A name without the marks of copies, and which copy it is; 0 if it is none."""
    again = 0
    while match := _COPY.fullmatch(name):
        name = match["id"] or match["of"]
        again += int(match["n"] or match["m"] or 1)
    return name, again


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip")


def hours_late(submission: Submission, due: datetime | None) -> float | None:
    """Hours from the due date to the file's date; 0 if it was in time, None without a due date."""
    if due is None:
        return None
    return max(0.0, round((submission.modified - due).total_seconds() / 3600, 2))
