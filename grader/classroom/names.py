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
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import NamedTuple

_CANVAS = re.compile(
    r"(?P<student>.+?)(?:_(?P<late>late))?_(?P<user>\d+)_(?P<number>\d+)_(?P<file>.+)", re.I
)
_MOODLE = re.compile(
    r"(?P<folder>(.*/)?(?P<student>[^/]+)_\d+)_assignsubmission_[a-z]+_?/?(?P<file>.+)", re.I
)
# What a browser, Windows and macOS make of a second file of the same name.
_COPY = re.compile(r"(.+?)(?: ?\((\d{1,3})\)| (?:- )?copy(?: ?\(?(\d+)\)?)?)", re.I)
UserOf = Callable[[str], str]  # ID -> Canvas's number of the student; empty if there is none


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


def read(
    files: Mapping[str, File], naming: str, user_of: UserOf = lambda id: ""
) -> list[Submission]:
    """The submissions; other files are left out, unless they cannot be read.

    Args:
        files: path inside the class's folder or zip -> file.
        naming: "canvas": names of Canvas's form are read as Canvas's; "plain": none are; "auto":
            if all zips have the form, no two the same number, and each user one name.
        user_of: whom an ID names in the gradebook. The name of a plain file's folder, or else its
            own, is the ID if it names somebody there.
    """
    canvas = {path: m for path in files if (m := _CANVAS.fullmatch(path.rpartition("/")[2]))}
    zips = [path for path in files if _is_zip(path)]
    if naming == "plain" or (naming == "auto" and not _all_canvas(zips, canvas)):
        canvas = {}
    plain = [path for path in files if (_is_zip(path) or files[path].fault) and path not in canvas]
    found = [_of_canvas(path, files[path], match) for path, match in canvas.items()]
    return found + _plain({path: files[path] for path in plain}, user_of)


def key(id: str, user_of: UserOf) -> str:
    """The same for all IDs of one student."""
    return user_of(id) or f"ID {_normal(id)}"


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _of_canvas(path: str, file: File, match: re.Match[str]) -> Submission:
    name, again = _without_copies(PurePosixPath(match["file"]).stem)
    if tried := re.fullmatch(r"(.+)-(\d{1,2})", name):
        name, again = tried[1], again + int(tried[2])
    order = (_is_zip(path), int(match["number"]), again, file.modified, path)
    who = match["student"], match["user"], bool(match["late"])
    return Submission(name, path, *who, order, file.modified, match["user"], file.fault)


def _plain(files: Mapping[str, File], user_of: UserOf) -> list[Submission]:
    """Those whose names are not Canvas's."""
    found: list[Submission] = []
    about: dict[str, tuple[str, int]] = {}  # file -> the student that Moodle names, which copy
    alike: dict[str, dict[str, PurePosixPath]] = defaultdict(dict)  # name -> file -> its place
    inside: dict[PurePosixPath, set[str]] = defaultdict(set)  # folder -> the names in it

    def add(path: str, id: str) -> None:
        file, (student, again) = files[path], about[path]
        order = (True, 0, again, file.modified, path)
        of_file = order, file.modified, key(id, user_of), file.fault
        found.append(Submission(id, path, student, "", False, *of_file))

    for path in files:
        # "J D_7_assignsubmission_file_jd42.zip" and ".../jd42.zip" are both "J D_7/jd42".
        moodle = _MOODLE.fullmatch(path)
        place = f"{moodle['folder']}/{moodle['file']}" if moodle else path
        folder, _, name = place.rpartition("/")
        name, again = _without_copies(name[:-4] if _is_zip(name) else name)
        about[path] = moodle["student"] if moodle else "", again
        inside[PurePosixPath(folder)].add(_normal(name))
        # Folders first: a student who names the file may name it as another one.
        known = [part for part in (*folder.split("/")[::-1], name) if user_of(part)]
        if known:
            add(path, known[0])
        else:
            alike[_normal(name)][path] = PurePosixPath(folder, name)
    for places in alike.values():
        folders = sorted({place.parent for place in places.values()})
        short = dict(zip(folders, _distinct([folder.parts for folder in folders]), strict=True))
        of_students = all(short.values()) and all(len(inside[folder]) == 1 for folder in folders)
        for path, place in places.items():
            id = short[place.parent] if of_students else f"{short[place.parent]}/{place.name}"
            add(path, id.lstrip("/"))
    return found


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
    users = {match["user"] for match in matches}
    names = {(match["user"], match["student"].casefold()) for match in matches}
    return len(matches) == len(zips) == len(numbers) and len(users) == len(names)


def _without_copies(name: str) -> tuple[str, int]:
    """A name without the marks of copies, and which copy it is; 0 if it is none."""
    again = 0
    while match := _COPY.fullmatch(name):
        name, again = match[1], again + int(match[2] or match[3] or 1)
    return name, again


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip")


def hours_late(submission: Submission, due: datetime | None) -> float | None:
    """Hours from the due date to the file's date; 0 if it was in time, None without a due date."""
    if due is None:
        return None
    return max(0.0, round((submission.modified - due).total_seconds() / 3600, 2))
