"""Finds the submissions of a class in a folder or a zip, and copies them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from .. import gradescope, packing
from ..errors import GraderError
from ..submission import MAX_UNPACKED_BYTES
from . import names
from .names import File, Submission, UserOf

_NO_DATE = datetime(1980, 1, 1)  # that a zip can have
_LINK = "it is a link, which is not followed; put what it leads to in its place"


class Found(NamedTuple):
    """The submissions of a class."""

    counting: list[Submission]  # one for each student, the last one, sorted by ID
    superseded: list[Submission]  # earlier ones of the same students
    ignored: list[str]  # other files

    def several(self) -> list[str]:
        """A line for each student with several files: the one that counts, then the others."""
        others = defaultdict(list)
        for one in self.superseded:
            others[one.key].append(one.file)
        counting = {one.key: one for one in self.counting}
        return [
            f"{counting[k].id}: {counting[k].file}, before it {', '.join(others[k])}"
            for k in others
        ]


class Classroom:
    """A folder or a zip of submissions; GraderError if it is none, damaged, or one submission."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        self._folders: set[str] = set()  # submissions that are folders
        self._files = self._list_folder() if path.is_dir() else self._open_zip()
        if {"homework/__init__.py", "__init__.py"} & self._files.keys():
            raise GraderError(
                f"{path}: is one submission, not a class; use python3 -m grader {path}"
            )

    def _list_folder(self) -> dict[str, File]:
        def fail(error: OSError) -> None:
            raise error

        found = {}
        for folder, folders, files in os.walk(self._path, onerror=fail):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for file in (Path(folder, name) for name in files + links):
                about = file.lstat()
                fault = _LINK if stat.S_ISLNK(about.st_mode) else "it is no plain file"
                if stat.S_ISREG(about.st_mode):
                    fault = ""
                place = file.relative_to(self._path).as_posix()
                found[place] = File(datetime.fromtimestamp(about.st_mtime), fault)
        return found

    def _open_zip(self) -> dict[str, File]:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except FileNotFoundError:
            raise GraderError(f"{self._path}: no such file or folder") from None
        except Exception as error:  # see `submission.unpack`
            raise GraderError(
                f"{self._path}: neither a folder nor a readable zip ({error}); "
                "name the folder or the zip that the submissions are in"
            ) from None
        found: dict[str, File] = {}
        for info in self._zip.infolist():
            if info.filename in found:
                raise GraderError(f"{self._path}: has two files {info.filename!r}; unpack it first")
            if not info.is_dir():
                date = _NO_DATE
                with contextlib.suppress(ValueError):
                    date = datetime(*info.date_time)
                found[info.filename] = File(date, _LINK * stat.S_ISLNK(info.external_attr >> 16))
        return found

    def find(self, naming: str = "auto", user_of: UserOf = lambda id: "") -> Found:
        """Tell which student each file belongs to; GraderError if there is no submission.

        The arguments are those of `names.read`.
        """
        visible = {path: file for path, file in self._files.items() if not _hidden(path)}
        exported = self._exported(visible, user_of)
        inside = tuple(f"{folder}/" for folder in self._folders)
        plain = {p: f for p, f in visible.items() if not p.startswith(inside) or not inside}
        found = exported + names.read(plain, naming, user_of)
        if not found:
            raise GraderError(
                f"{self._path}: no submissions in it; they are named ID.zip, or as Canvas names "
                "them: STUDENT_12345_67890_ID.zip"
            )
        last: dict[str, Submission] = {}
        for one in sorted(found, key=lambda one: one.order):
            last[one.key] = one
        counting = sorted(last.values(), key=lambda one: (one.id.casefold(), one.file))
        # A report beside a zip is no submission; without a zip it is one that cannot be opened.
        earlier = [one for one in found if last[one.key] != one]
        superseded = [one for one in earlier if one.order[0] == last[one.key].order[0]]
        read = {one.file for one in [*counting, *superseded]}
        ignored = sorted(path for path in plain if path not in read)
        return Found(counting, sorted(superseded, key=lambda one: one.file), ignored)

    def _exported(self, visible: dict[str, File], user_of: UserOf) -> list[Submission]:
        """The submissions of Gradescope's export: a folder each, and a file that says whose."""
        found = []
        for path in [p for p in visible if PurePosixPath(p).name == gradescope.METADATA]:
            with self._open(path) as file:
                handed_in = gradescope.submitters(file.read(), f"{self._path}: {path}")
            for name, people in handed_in.items():
                folder = path.removesuffix(gradescope.METADATA) + name
                dates = [f.modified for p, f in visible.items() if p.startswith(f"{folder}/")]
                self._folders.add(folder)
                fault = "" if dates else "its folder is not in the export, or is empty"
                for person in people:
                    date = person.created or max(dates, default=_NO_DATE)
                    id = next(filter(user_of, person.ids), [*person.ids, name][0])
                    about = (True, 0, 0, date, folder), date, names.key(id, user_of), fault
                    found.append(Submission(id, folder, person.name, "", False, *about))
            del visible[path]
        return found

    def copy(self, submission: Submission, target: Path) -> str:
        """Copy a submission; returns the SHA-256 of the copy.

        Of one that is larger than may be graded, only the beginning is copied. OSError if it cannot
        be read or written, or what zipfile raises on a damaged file.
        """
        if submission.fault:
            raise OSError(submission.fault)
        digest = hashlib.sha256()
        if submission.file not in self._folders:
            self._copy(submission.file, target, digest, packing.LIMIT_BYTES + 1)
            return digest.hexdigest()
        left, start = MAX_UNPACKED_BYTES, f"{submission.file}/"
        for path in sorted(path for path in self._files if path.startswith(start)):
            name = path.removeprefix(start)
            if self._files[path].fault or {"..", ""} & {*name.split("/")}:
                raise OSError(f"{path} is no plain file")
            digest.update(os.fsencode(f"{name}\0"))
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            left -= self._copy(path, target / name, digest, left)
        return digest.hexdigest()

    def _copy(self, path: str, target: Path, digest: hashlib._Hash, most: int) -> int:
        with self._open(path) as source, open(target, "xb") as sink:
            while chunk := source.read(min(1 << 20, most - sink.tell())):
                digest.update(chunk)
                sink.write(chunk)
            return sink.tell()

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[IO[bytes]]:
        if self._zip:
            with self._zip.open(path) as file:
                yield file
            return
        # The file may have become a link or a pipe since it was found.
        extra = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")  # as far as the system has them
        flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in extra)
        with open(self._path / path, "rb", opener=lambda p, _: os.open(p, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{path} is no plain file")
            yield file


def _hidden(file: str) -> bool:
    """Whether a system has put the file there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in file.split("/"))
