"""Read files of question/answer pairs: those of `generate`, of other programs and of `export`.

[
{"question": "What track is this?", "answer": "abyss", "image_file": "train/00000_00_im.jpg"},
...
]

Other fields are ignored. A file may also have one object per line, and `qa_write` says how the
objects of its forms look.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..common.errors import InputError, note
from ..common.files import read_json, shown
from ..labels.questions import MAX_TEXT_LENGTH
from .split import (
    CONTRADICTED,
    EMPTY,
    INFO_SUFFIX,
    SPLITS,
    Skipped,
    has_info_files,
    how_to_download,
)

QA_SUFFIX = "_qa_pairs.json"
FIELDS = ("image_file", "question", "answer")  # of each pair
MAX_QA_BYTES = 500_000_000  # the file of the whole train split has some 30 MB
_SUFFIXES = (QA_SUFFIX, f"{QA_SUFFIX}l")  # .jsonl: an object per line
_SURROGATE = re.compile("[\ud800-\udfff]")
_DRIVE = re.compile("[A-Za-z]:")


def find_qa_files(data_dir: Path, split: str) -> list[Path]:
    """The files of pairs of a split, in name order.

    They lie in its folder, or else `<split>_qa_pairs.json` in the data folder itself counts.
    """
    folder = data_dir / split
    names = os.listdir(folder) if folder.is_dir() else []
    # macOS writes a "._" file beside each file that it copies.
    names = sorted(name for name in names if name.endswith(_SUFFIXES) and name[0] != ".")
    flat = [data_dir / f"{split}{suffix}" for suffix in _SUFFIXES]
    return [folder / name for name in names] or [file for file in flat if file.is_file()]


def qa_files(data_dir: Path, split: str) -> list[Path]:
    """As `find_qa_files`; prints a line where they are not in the split's folder.

    Raises InputError if there is no such split, or no file of pairs.
    """
    if split in ("", ".", "..") or "/" in split or "\\" in split:
        raise InputError(f"split {split!r}: not the name of a folder in {data_dir}; try train")
    folder = data_dir / split
    files = find_qa_files(data_dir, split)
    if files and files[0].parent != folder:
        note(f"{folder}: no *{QA_SUFFIX} in it; reads {', '.join(map(str, files))}")
    if not files and not folder.is_dir():
        others = [path.name for path in data_dir.iterdir()] if data_dir.is_dir() else []
        there = ", ".join(sorted(name for name in others if (data_dir / name).is_dir())) or "none"
        fix = f"{how_to_download(data_dir)} for the dataset, or " if split in SPLITS else ""
        raise InputError(
            f"{folder}: no such split (there: {there}); {fix}name another one "
            "(--train_dataset_name to train on it, --split to test), or give --data_dir"
        )
    if not files:
        raise InputError(f"{folder}: no *{QA_SUFFIX} in it; {how_to_get(folder)}")
    return files


@dataclass
class ReadPairs:
    """What `read_pairs` has read."""

    pairs: list[tuple[str, str, str]] = field(default_factory=list)  # image_path, question, answer
    duplicates: int = 0  # repeated pairs, kept once
    left_out: Skipped = field(default_factory=Skipped)  # empty and contradictory ones


def read_pairs(files: Sequence[Path], data_dir: Path) -> ReadPairs:
    """Read the distinct pairs of all files.

    Pairs without a question or an answer are left out, and so is every question about an image
    that has two different answers. Raises InputError if a file is malformed or an image is
    missing.
    """
    from .qa_write import conversation_pairs  # here, as no --help needs what writes pairs

    read = ReadPairs()
    image_paths: dict[str, str] = {}  # of each image_file
    listings: dict[str, set[str]] = {}  # of the images' folders
    first: dict[tuple[str, str], int] = {}  # image_path, question -> index in read.pairs
    sources: list[Path] = []  # of each pair
    contradicted: set[int] = set()
    for file in files:
        named: set[str] = set()
        rows = read_rows(file)
        if not isinstance(rows, list):
            raise InputError(f"{file}: expected a list of pairs; {_repair(file)}")
        for index, row in enumerate(rows):
            try:
                triples = [triple(pair) for pair in conversation_pairs(row)]
                for image_file, *_ in triples:
                    if image_file not in image_paths:
                        image_paths[image_file] = _image_path(image_file, data_dir)
            except ValueError as error:
                raise InputError(f"{file}: pair {index}{error}; {_repair(file)}") from None
            for image_file, question, answer in triples:
                if not (question.strip() and answer.strip()):
                    read.left_out.note(EMPTY, f"{file.name} pair {index}")
                    continue
                image_path = image_paths[image_file]
                named.add(image_path)
                known = first.setdefault((image_path, question), len(read.pairs))
                if known == len(read.pairs):
                    read.pairs.append((image_path, question, answer))
                    sources.append(file)
                elif read.pairs[known][2] == answer:
                    read.duplicates += 1
                elif known not in contradicted:
                    contradicted.add(known)
                    read.left_out.note(
                        CONTRADICTED,
                        f"{question[:80]!r} about {image_file[:80]}: {read.pairs[known][2][:40]!r} "
                        f"in {sources[known].name}, {answer[:40]!r} in {file.name}",
                    )
        _check_images(file, named, listings)
    if contradicted:
        read.pairs = [pair for i, pair in enumerate(read.pairs) if i not in contradicted]
    return read


class _Repeated(InputError):
    """A field is given twice in an object."""


def read_rows(file: Path) -> Any:
    """The value of a JSON file, a list if it has an object per line; InputError if it is none."""
    try:
        return read_json(file, MAX_QA_BYTES, _parse)
    except _Repeated as error:
        raise InputError(f"{file}: {error}; keep one of them") from None


def _parse(data: bytes) -> Any:
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return [_parse_line(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    is_pair = isinstance(value, dict) and value.keys() & {"question", "messages", "conversations"}
    return [value] if is_pair else value


def _parse_line(number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: {error.msg}") from None


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        names = [name for name, _ in items]
        name = next(name for name in names if names.count(name) > 1)
        values = " and ".join(repr(value)[:40] for key, value in items if key == name)
        raise _Repeated(f"field {name[:60]!r} is given twice in an object, {values}")
    return found


# --- a pair ---


def triple(row: object) -> tuple[str, str, str]:
    """image_file, question and answer of a pair; a whole number as an answer is its digits.

    Raises ValueError, which continues a line that begins with the number of the pair.
    """
    if not isinstance(row, dict):
        raise ValueError(" is not an object")
    for name in FIELDS:
        if name not in row:
            raise ValueError(f": field {name!r} is missing")
    answer = row["answer"]
    if answer is None:
        answer = ""
    elif type(answer) is int or (type(answer) is float and answer.is_integer()):
        answer = str(int(answer))  # of true, which JSON does not take for a number, no text
    found = row["image_file"], row["question"], answer
    for name, value in zip(FIELDS, found, strict=True):
        # JSON can hold half a character ("\\ud800"), which can be neither printed nor tokenized.
        if not isinstance(value, str) or (not value.isascii() and _SURROGATE.search(value)):
            raise ValueError(f": field {name!r} is not text")
        if len(value) > MAX_TEXT_LENGTH:
            length = f"{len(value):,} characters; {MAX_TEXT_LENGTH:,} are the most"
            raise ValueError(f": field {name!r} has {length}")
    return cast("tuple[str, str, str]", found)


def _image_path(image_file: str, data_dir: Path) -> str:
    """The path of an image below the data folder; it may be absolute, or written on Windows."""
    root = str(data_dir)
    name = image_file.replace("\\", "/")
    path = os.path.normpath(os.path.join(root, name))
    if os.path.isabs(name) and not _is_below(path, root):
        # The data folder may go by another name, through a link.
        real = os.path.realpath(root)
        path = os.path.join(root, os.path.relpath(os.path.realpath(path), real))
        path = os.path.normpath(path)
    if not _is_below(path, root) or (_DRIVE.match(name) and not os.path.isabs(name)):
        raise ValueError(
            f": field 'image_file': {image_file[:80]!r} is not below {data_dir}; give it as "
            "split/name, such as train/00000_00_im.jpg"
        )
    return path


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _check_images(file: Path, image_paths: set[str], listings: dict[str, set[str]]) -> None:
    """Refuse missing images. One listing per folder is far quicker than 50,000 look-ups."""
    missing = []
    for path in image_paths:
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in listings[folder]:
            missing.append(path)
    if missing:
        get = how_to_get(file.parent)
        get = f"delete this file and {get}" if "generate_qa" in get else get
        raise InputError(
            f"{file}: {len(missing)} of its {len(image_paths)} images missing, first "
            f"{min(missing)[:300]!r}; put them there, or {get}"
        )


# --- advice at the end of errors ---


def how_to_get(folder: Path) -> str:
    """The command that makes the pairs of a split, or downloads them with the dataset."""
    if has_info_files(folder):
        return f"run python -m homework.generate_qa generate --data_dir {shown(folder)}"
    if folder.name in SPLITS:
        return how_to_download(folder.parent)
    return f"give --data_dir or a split that has some (no *{INFO_SUFFIX} here to make them from)"


def _repair(file: Path) -> str:
    """What to do about a malformed file."""
    fix = "correct it, or delete this file"
    get = how_to_get(file.parent)
    return fix if get.startswith("give") else f"{fix} and {get}"
