"""Unpacks a submission into its private folder, and writes the data that it sees there.

A zip is a stranger's: every name in it is checked before anything is written, and nothing is
written but inside the submission's own folder.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from . import course, packing
from .errors import GraderError, SubmissionError
from .labels import Question

MAX_FILES = 5_000
# Unpacked; a zip of 50 MB can claim to hold a thousand times that.
MAX_UNPACKED_BYTES = 1_000_000_000
# Text rarely shrinks below a tenth, deflate ends at 1/1032; a small file may be all blanks.
MAX_RATIO, RATIO_FROM_BYTES = 200, 10_000_000
HIDDEN = "hidden"  # in place of every expected answer
_OURS = ("data", "tmp")  # the private folder's own
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors that a name or a position in the zip causes; all others are the file system's own.
_OWN_ERRORS = (
    None, errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ, errno.EOVERFLOW, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR,
)  # fmt: skip
_MEMBER = b"PK\1\2"  # begins each entry of the list of files at a zip's end


class Unpacked(NamedTuple):
    """A submission in the private folder."""

    package: str  # the name of its folder, which it is imported under
    size: str  # of the zip, and the number of its files, for the report
    remarks: list[str]  # where the course's grader would do otherwise; see `grader.course`


def unpack(path: Path, folder: Path) -> Unpacked:
    """Unpack a zip, or a folder as `bundle.py` would pack it, below `folder`.

    Args:
        path: an existing zip; or the homework folder, or a folder that contains it.

    Raises:
        SubmissionError: the submission is malformed, unsafe or too large.
        GraderError: the disk is full.
        OSError: the submission cannot be read, or its private folder not written.
    """
    try:
        if path.is_dir():
            path = _pack(path, folder / "submission.zip")
        return _unpack_zip(path, folder)
    except SubmissionError:
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise GraderError(f"{folder}: the disk is full; free some space") from None
        if error.errno not in _OWN_ERRORS:
            raise
        raise SubmissionError(f"cannot be unpacked: {error}") from None
    except Exception as error:
        # zipfile raises a dozen types on malformed input (zlib.error, struct.error,
        # NotImplementedError, EOFError, ...); all of them mean the same here.
        raise SubmissionError(
            f"not a readable zip: {type(error).__name__}: {error}; make it with bundle.py"
        ) from None


def _pack(path: Path, target: Path) -> Path:
    if not (path / "__init__.py").is_file() and (path / packing.TOP).is_dir():
        path /= packing.TOP
    try:
        packing.write_zip(packing.members(path), target)
    except packing.BundleError as error:
        raise SubmissionError(str(error)) from None
    return target


def _unpack_zip(path: Path, folder: Path) -> Unpacked:
    size = path.stat().st_size
    if size > packing.LIMIT_BYTES:
        raise SubmissionError(f"over 50 MB: at most {packing.LIMIT_BYTES} bytes are allowed")
    # zipfile reads the whole list of files, which can need gigabytes. (A file in the zip may be a
    # zip itself, whose entries are counted here, too.)
    if path.read_bytes().count(_MEMBER) > 10 * MAX_FILES:
        raise SubmissionError(_too_many())
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        files = _checked(entries)
        package = _package(files)
        own = [info for name, info in files.items() if name.startswith(f"{package}/")]
        for info in own:
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            # zipfile gives no more bytes than the size that was checked. "x": where case does not
            # count, two names could be one file.
            with archive.open(info) as source, open(target, "xb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    remarks = course.of_zip(_top_folders(info.filename for info in entries))
    return Unpacked(package, f"{packing.size_text(size)}, {len(own)} files", remarks)


def _checked(entries: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files by name, the last of each, once every entry of the zip has been found safe."""
    files: dict[str, zipfile.ZipInfo] = {}
    for number, info in enumerate(entries):
        name = info.orig_filename
        if fault := _fault(info):
            raise SubmissionError(f"{name[:100]!r} in the zip {fault}; make the zip with bundle.py")
        if number >= MAX_FILES:
            raise SubmissionError(_too_many())
        if info.is_dir():
            continue
        files[name] = info
    for name, info in files.items():  # by the sizes it claims
        size = info.file_size
        if size > RATIO_FROM_BYTES and size > MAX_RATIO * max(info.compress_size, 1):
            raise SubmissionError(f"{name!r} in the zip grows over {MAX_RATIO} times when unpacked")
    if sum(info.file_size for info in files.values()) > MAX_UNPACKED_BYTES:
        raise SubmissionError(f"more than {MAX_UNPACKED_BYTES / 1e9:g} GB when unpacked")
    _check_clashes(files)
    return files


def _package(names: Collection[str]) -> str:
    """The folder that holds the submission: `homework`, or the only one, whatever its name."""
    if f"{packing.TOP}/__init__.py" in names:
        return packing.TOP
    folders = _top_folders(names)
    if len(folders) != 1 or f"{folders[0]}/__init__.py" not in names:
        tops = ", ".join(sorted({name.split("/")[0] for name in names})[:3]) or "nothing"
        raise SubmissionError(
            f"no homework/__init__.py in the zip (at its top: {tops}); make it with bundle.py"
        )
    if folders[0] in _OURS or "." in folders[0]:
        raise SubmissionError(
            f"the folder in the zip cannot be named {folders[0]!r}; make the zip with bundle.py"
        )
    return folders[0]


def _top_folders(names: Iterable[str]) -> list[str]:
    return sorted({name.split("/")[0] for name in names if "/" in name})


def _check_clashes(names: Collection[str]) -> None:
    """Refuse files that cannot all be there on some system, and too many files and folders."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            other = seen.setdefault(unicodedata.normalize("NFC", part).casefold(), part)
            if other != part:
                raise SubmissionError(
                    f"{other!r} and {part!r} in the zip are one file on some systems; rename one"
                )
            if part in names and part != name:
                raise SubmissionError(f"{part!r} in the zip is both a file and a folder")
            if len(seen) > MAX_FILES:
                raise SubmissionError(_too_many())


def _too_many() -> str:
    return f"more than {MAX_FILES} entries in the zip, folders counted"


def _fault(info: zipfile.ZipInfo) -> str | None:
    """What makes an entry unsafe, or None."""
    name, mode = info.orig_filename, info.external_attr >> 16
    # zipfile cuts a name at a NUL, and an extra field can put another name in its place; the
    # name that was checked must be the one that is written.
    if info.filename != name:
        return f"has a second name, {info.filename!r}"
    parts = name.removesuffix("/").split("/")
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of its folder"
    if stat.S_ISLNK(mode):
        return "is a link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a plain file"
    if len(parts) > packing.MAX_DEPTH + 1:
        return f"is over {packing.MAX_DEPTH} folders deep"
    if {"", "."} & set(parts) or re.search(r"[\\:]", name) or not name.isprintable():
        return "is not a proper file name"
    if info.flag_bits & 0x1:
        return "is encrypted"
    # zipfile unpacks these two in pieces; of the others a piece can be gigabytes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed by another method than deflate"
    return None


def write_data(data_dir: Path, folder: Path, split: str, questions: Sequence[Question]) -> None:
    """Write the data folder that the submission sees: what it is asked, but no answers.

    The images are copied: a link would lead to the expected answers, and to originals that
    an unlocked submission could overwrite.
    """
    target = folder / "data"
    records = [{"image_file": q.image, "question": q.question, "answer": HIDDEN} for q in questions]
    try:
        for image in sorted({question.image for question in questions}):
            (target / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_dir / image, target / image)
        (target / split).mkdir(parents=True, exist_ok=True)
        (target / split / "questions_qa_pairs.json").write_text(json.dumps(records), "utf-8")
    except OSError as error:
        raise GraderError(f"{data_dir}: its images cannot be copied: {error}") from None
