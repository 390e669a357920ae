"""Reads the questions with their expected answers; these never leave the parent process."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from . import scoring
from .errors import GraderError, one_line


class Question(NamedTuple):
    """One question; `image` is relative to the data folder."""

    image: str
    question: str
    answer: str


def read(data_dir: Path, split: str) -> list[Question]:
    """Every question of a split: its `*_qa_pairs.json` files by name, each in its own order.

    A question that is asked twice about an image counts once, as in `homework.data`: a draw
    from these is then a draw from those of `VQADataset`.

    Raises:
        GraderError: no such files, one of them is malformed, or two contradict each other.
    """
    folder = data_dir / split
    # macOS leaves "._" files beside those that it copies.
    files = [file for file in folder.glob("*_qa_pairs.json") if not file.name.startswith(".")]
    first: dict[tuple[str, str], Question] = {}
    for file in sorted(files, key=lambda file: file.name):
        for new in _read_file(file):
            if first.setdefault((new.image, new.question), new) != new:
                raise GraderError(
                    f"{file}: {new.question!r} about {new.image} has two answers; keep one"
                )
    questions = list(first.values())
    if not questions:
        raise GraderError(
            f"{folder}: no questions (*_qa_pairs.json) there; "
            "put the data there or name its folder with --data_dir"
        )
    return questions


def asked(data_dir: Path, split: str) -> list[Question]:
    """The questions of a split that are asked: all, or those that `scoring.draw` chooses.

    GraderError as in `read`, or if an image is missing: no submission could answer.
    """
    every = read(data_dir, split)
    questions = [every[index] for index in scoring.draw(len(every))]
    missing = sorted({q.image for q in questions if not (data_dir / q.image).is_file()})
    if missing:
        raise GraderError(
            f"{data_dir / missing[0]}: no such image ({len(missing)} missing); "
            "put the data there or name its folder with --data_dir"
        )
    return questions


def hidden(data_dir: Path, split: str, questions: list[Question]) -> list[Path]:
    """Where answers are to be found: the data folder first, then all that may be a link there.

    These are the split, the folders of its images (for the info files) and the links in them.
    """
    folders = {data_dir / split, *((data_dir / question.image).parent for question in questions)}
    links = [entry.path for f in folders for entry in os.scandir(f) if entry.is_symlink()]
    return [data_dir, *sorted(folders), *map(Path, links)]


def _read_file(file: Path) -> list[Question]:
    try:
        records = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GraderError(f"{file}: not valid JSON ({one_line(str(error), 100)})") from None
    if not isinstance(records, list):
        raise GraderError(f"{file}: expected a list of question/answer records")
    questions = []
    for index, record in enumerate(records):
        where = f"{file}: record {index}:"
        fields = record if isinstance(record, dict) else {}
        name, question, answer = map(fields.get, ("image_file", "question", "answer"))
        if type(answer) is int:  # as in `homework.data`, a whole number is its digits
            answer = str(answer)
        if not (isinstance(name, str) and isinstance(question, str) and isinstance(answer, str)):
            raise GraderError(f"{where} expected 'question', 'answer' and 'image_file' as text")
        image = PurePosixPath(name.replace("\\", "/"))
        if image.is_absolute() or ".." in image.parts:
            raise GraderError(f"{where} 'image_file' leads out of the data folder")
        questions.append(Question(str(image), question, answer))
    return questions
