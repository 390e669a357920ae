"""Write files of question/answer pairs from the info files of a split, and read them.

[
{"question":"What track is this?","answer":"abyss","image_file":"train/00000_00_im.jpg"},
...
]
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..common import quick_json
from ..common.errors import InputError
from ..common.files import atomic_write, read_json, writing
from ..common.workers import chunks, ordered_map
from ..labels.questions import MAX_TEXT_LENGTH, Pair, pairs
from .split import Skipped, Split, read_frames

QA_SUFFIX = "_qa_pairs.json"
FIELDS = frozenset({"question", "answer", "image_file"})  # of each pair
MAX_QA_BYTES = 500_000_000  # the file of the whole train split has some 30 MB
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Summary:
    """Counts of what was labelled: views, occurrences of each pair, what was skipped."""

    views: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Summary) -> None:
        """Add the counts of `other`."""
        self.views += other.views
        self.pairs.update(other.pairs)
        self.skipped.add(other.skipped)


def write_pairs(split: Split, output: str | Path, num_workers: int) -> Summary:
    """Write the pairs of every view that has a picture to `output`, whole or not at all.

    The bytes do not depend on `num_workers`, nor the memory on the size of the split.

    Raises:
        InputError: there is nothing to write, or `output` cannot be written.
    """
    summary = Summary()
    runs = chunks(split.info_files, num_workers)
    with (
        writing(output, "or try --output"),
        ordered_map(lambda run: label(split, run), runs, num_workers) as results,
        atomic_write(output) as file,
    ):
        from tqdm import tqdm  # imported while the workers label already

        with tqdm(total=len(split.info_files), unit=" info files") as progress:
            for run, (lines, labelled) in zip(runs, results, strict=True):
                if lines:
                    file.write(b",\n" if summary.views else b"[\n")
                    file.write(lines)
                summary.add(labelled)
                progress.update(len(run))
        if not summary.views:
            reasons = "; ".join(summary.skipped.lines()) or "its info files have no views"
            raise InputError(f"{split.folder}: nothing to label; {reasons}")
        file.write(b"\n]\n")
    return summary


def label(split: Split, info_files: Sequence[str]) -> tuple[bytes, Summary]:
    """The pairs of some info files: JSON objects, one per line, with commas between them."""
    summary = Summary()
    lines: list[bytes] = []
    for frame in read_frames(split, info_files, summary.skipped):
        for picture, scene in frame.views:
            image_file = split.image_file(picture)
            made = list(pairs(scene))
            for question, answer in made:
                row = {"question": question, "answer": answer, "image_file": image_file}
                lines.append(quick_json.dumps(row))
            summary.pairs.update(made)
            summary.views += 1
    return b",\n".join(lines), summary


# --- reading ---


def qa_files(data_dir: Path, split: str) -> list[Path]:
    """The QA files of a split, in name order.

    Raises:
        InputError: there is no such split, or no QA file in it.
    """
    if split in ("", ".", "..") or "/" in split or "\\" in split:
        raise InputError(f"split {split!r}: not the name of a folder in {data_dir}; try train")
    folder = data_dir / split
    if not folder.is_dir():
        others = [path.name for path in data_dir.iterdir()] if data_dir.is_dir() else []
        there = ", ".join(sorted(name for name in others if (data_dir / name).is_dir())) or "none"
        raise InputError(
            f"{folder}: no such split (there: {there}); run python -m homework.download for the "
            "dataset, or give the name of a split and the --data_dir that holds it"
        )
    names = sorted(name for name in os.listdir(folder) if name.endswith(QA_SUFFIX))
    # macOS writes a "._" file beside each file that it copies.
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise InputError(f"{folder}: no *{QA_SUFFIX} in it; {how_to_generate(folder)}")
    return [folder / name for name in names]


def read_pairs(files: list[Path], data_dir: Path) -> tuple[list[tuple[str, str, str]], int]:
    """The distinct (image_path, question, answer) of all files, and how many were repeated.

    Raises:
        InputError: a file is malformed, a picture is missing, or two pairs contradict each other.
    """
    pictures: dict[str, str] = {}  # image_file -> image_path
    first: dict[tuple[str, str], int] = {}  # image_path, question -> index in pairs
    pairs: list[tuple[str, str, str]] = []
    sources: list[Path] = []  # of each pair
    duplicates = 0
    for file in files:
        rows = read_json(file, MAX_QA_BYTES)
        if not isinstance(rows, list):
            raise InputError(f"{file}: expected a list of pairs; {how_to_generate(file.parent)}")
        named: set[str] = set()
        for index, row in enumerate(rows):
            if fault := pair_fault(row):
                raise InputError(f"{file}: pair {index}{fault}; {how_to_generate(file.parent)}")
            image_file, question, answer = row["image_file"], row["question"], row["answer"]
            if image_file not in pictures:
                pictures[image_file] = _image_path(file, index, image_file, data_dir)
            image_path = pictures[image_file]
            named.add(image_path)
            known = first.setdefault((image_path, question), len(pairs))
            if known == len(pairs):
                pairs.append((image_path, question, answer))
                sources.append(file)
                continue
            if pairs[known][2] != answer:
                answers = (pairs[known][2], answer)
                raise _contradiction(sources[known], file, question, image_file, answers)
            duplicates += 1
        _check_pictures(file, named)
    return pairs, duplicates


def pair_fault(row: object) -> str:
    """Why `row` is not a pair, for an error message; empty if it is one."""
    if not isinstance(row, dict):
        return " is not an object"
    if row.keys() != FIELDS:
        for name in sorted(FIELDS - row.keys()):
            return f": field {name!r} is missing"
        name = min(row.keys() - FIELDS)
        return f": unknown field {name[:60]!r} beside question, answer and image_file"
    for name, value in row.items():
        # JSON can hold half a character ("\\ud800"), which can be neither printed nor tokenized.
        if not isinstance(value, str) or (not value.isascii() and _SURROGATE.search(value)):
            return f": field {name!r} is not text"
        if len(value) > MAX_TEXT_LENGTH:
            return (
                f": field {name!r} has {len(value):,} characters; {MAX_TEXT_LENGTH:,} are the most"
            )
    return ""


def _image_path(file: Path, index: int, image_file: str, data_dir: Path) -> str:
    path = PurePosixPath(image_file)
    if path.is_absolute() or ".." in path.parts or "\\" in image_file or not path.name:
        raise InputError(
            f"{file}: pair {index}: field 'image_file': {image_file[:80]!r} is not below "
            f"{data_dir}; give it as split/name, such as train/00000_00_im.jpg"
        )
    return str(data_dir / path)


def _check_pictures(file: Path, image_paths: set[str]) -> None:
    """Refuse missing pictures. One listing per folder is far quicker than 50,000 look-ups."""
    listings: dict[str, set[str]] = {}
    missing = []
    for path in image_paths:
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in listings[folder]:
            missing.append(path)
    if missing:
        raise InputError(
            f"{file}: {len(missing)} of its {len(image_paths)} pictures missing, first "
            f"{min(missing)[:300]!r}; put them there, or {how_to_generate(file.parent)}"
        )


def _contradiction(
    first: Path, second: Path, question: str, image_file: str, answers: tuple[str, str]
) -> InputError:
    where = f"{first} contradicts itself" if first == second else f"{first} and {second} disagree"
    return InputError(
        f"{where}: {question[:80]!r} about {image_file!r} has the answers "
        f"{answers[0][:40]!r} and {answers[1][:40]!r}; keep one"
    )


def how_to_generate(folder: Path) -> str:
    """The end of an error about a split without usable pairs."""
    return f"run python -m homework.generate_qa generate --data_dir {folder}"
