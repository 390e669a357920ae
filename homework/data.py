"""Question/answer pairs with their pictures, and the benchmark that scores a model on them.

No torch here, and no picture is opened.

    data/<split>/*_qa_pairs.json --VQADataset--> items --benchmark(model)--> VQABenchmarkResult
"""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from .files import DATA_DIR, InputError, read_json
from .questions import KINDS, MAX_TEXT_LENGTH, kind_of

QA_SUFFIX = "_qa_pairs.json"
FIELDS = frozenset({"question", "answer", "image_file"})  # of one pair in a QA file
BATCH = 32  # questions in one call of a model's `answer`, as in the course's own benchmark
MAX_QA_BYTES = 500_000_000  # one file of the whole train split has some 30 MB

_SURROGATE = re.compile("[\ud800-\udfff]")

Item = Mapping[str, str]  # has "question" and "answer", and "image_path" where it is answered


class VQADataset:
    """The pairs of every `*_qa_pairs.json` in `<data_dir>/<split>/`, files in name order.

    Items are `{"image_path": absolute path, "question": ..., "answer": ...}`. A pair that
    stands in the files more than once is kept once; `duplicates` is how many were dropped.

    Args:
        split: name of a folder in `data_dir`, such as "train" or "valid".
        data_dir: the folder that `image_file` is relative to; `data` beside the package if None.
        max_samples: keep a seeded draw of so many pairs (see `draw`).

    Raises:
        InputError: the split or a QA file is missing or malformed, a picture is missing, or
            two pairs contradict each other.
    """

    def __init__(
        self, split: str, data_dir: str | Path | None = None, max_samples: int | None = None
    ) -> None:
        self.split = str(split)
        self.data_dir = Path(os.path.abspath(Path(data_dir or DATA_DIR).expanduser()))
        self.files = _qa_files(self.data_dir, self.split)
        pairs, self.duplicates = _read_pairs(self.files, self.data_dir)
        if not pairs:
            raise InputError(
                f"{self.data_dir / self.split}: its *{QA_SUFFIX} hold no pair; "
                f"{_generate(self.data_dir / self.split)}"
            )
        # Tuples, with one path string per picture: a tenth of the memory of 100,000 dicts.
        self._pairs = [pairs[index] for index in draw(len(pairs), max_samples)]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, str]:
        image_path, question, answer = self._pairs[index]
        return {"image_path": image_path, "question": question, "answer": answer}


def draw(total: int, n: int | None, seed: int = 0) -> list[int]:
    """Indices, in order, of a seeded draw of `n` from `total`; all of them if n is None or more.

    Raises:
        InputError: `n` is not a positive whole number.
    """
    if n is None:
        return list(range(total))
    if not isinstance(n, int) or n < 1:
        raise InputError(f"max_samples: {n!r} is not a positive whole number; give 1 or more")
    if n >= total:
        return list(range(total))
    return sorted(random.Random(seed).sample(range(total), n))


# --- the benchmark ---


class Model(Protocol):
    """Anything that answers questions about pictures, several at a time."""

    def answer(self, image_paths: list[str], questions: list[str]) -> list[str]:
        """One answer for each picture and question, in the order asked."""


@dataclass(frozen=True)
class BenchmarkSample:
    """One question, what the model said and what was right."""

    image_path: str
    question: str
    model_answer: str
    correct_answer: str
    is_correct: bool


@dataclass(frozen=True)
class VQABenchmarkResult:
    """The samples of a benchmark and their accuracy, overall and per kind of question."""

    samples: list[BenchmarkSample]

    @property
    def accuracy(self) -> float:
        """Share of the samples answered correctly, 0 to 1."""
        return sum(sample.is_correct for sample in self.samples) / len(self.samples)

    @property
    def accuracy_per_kind(self) -> dict[str, tuple[float, int]]:
        """Kind of question -> (accuracy, number of samples), for the kinds that occur."""
        outcomes = defaultdict(list)
        for sample in self.samples:
            outcomes[kind_of(sample.question)].append(sample.is_correct)
        return {
            kind: (sum(outcomes[kind]) / len(outcomes[kind]), len(outcomes[kind]))
            for kind in (*KINDS, "other")
            if kind in outcomes
        }


def is_correct(answer: str, expected: str) -> bool:
    """Equal but for surrounding space, case and one trailing full stop; "10" is not "1"."""
    return _normal(answer) == _normal(expected)


def benchmark(
    model: Model,
    dataset: VQADataset | Sequence[Item],
    max_samples: int | None = None,
    batch_size: int | None = BATCH,
) -> VQABenchmarkResult:
    """Ask `model` all questions of `dataset`, or of a seeded draw of them, in their order.

    Prints and writes nothing.

    Args:
        batch_size: questions in one call of `answer`; None asks all of them in one call, for a
            model that makes batches of its own.

    Raises:
        InputError: there is nothing to ask, or `answer` did not return one text per question.
    """
    items = [dataset[index] for index in draw(len(dataset), max_samples)]
    if not items:
        raise InputError("benchmark: the dataset holds no pair; give a split that has some")
    size = len(items) if batch_size is None else batch_size
    answers = [
        answer
        for start in range(0, len(items), size)
        for answer in _ask(model, items[start : start + size])
    ]
    return VQABenchmarkResult(
        [
            BenchmarkSample(
                item["image_path"],
                item["question"],
                answer,
                item["answer"],
                is_correct(answer, item["answer"]),
            )
            for item, answer in zip(items, answers, strict=True)
        ]
    )


def _ask(model: Model, items: Sequence[Item]) -> Sequence[str]:
    answers = model.answer(
        [item["image_path"] for item in items], [item["question"] for item in items]
    )
    if not isinstance(answers, (list, tuple)) or not all(isinstance(a, str) for a in answers):
        raise InputError("benchmark: model.answer must return a list of str, one per question")
    if len(answers) != len(items):
        raise InputError(
            f"benchmark: model.answer returned {len(answers)} answers to {len(items)} questions"
        )
    return answers


# --- reading QA files ---


def _qa_files(data_dir: Path, split: str) -> list[Path]:
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
    # macOS leaves "._" files beside those that it copies.
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise InputError(f"{folder}: no *{QA_SUFFIX} in it; {_generate(folder)}")
    return [folder / name for name in names]


def _read_pairs(files: list[Path], data_dir: Path) -> tuple[list[tuple[str, str, str]], int]:
    """The distinct (image_path, question, answer) of all files, and how many were repeated."""
    pictures: dict[str, str] = {}  # image_file -> image_path
    first: dict[tuple[str, str], int] = {}  # image_path, question -> index in pairs
    pairs: list[tuple[str, str, str]] = []
    sources: list[Path] = []  # of each pair
    duplicates = 0
    for file in files:
        rows = read_json(file, MAX_QA_BYTES)
        if not isinstance(rows, list):
            raise InputError(f"{file}: expected a list of pairs; {_generate(file.parent)}")
        named: set[str] = set()
        for index, row in enumerate(rows):
            if not _is_pair(row):
                raise InputError(f"{file}: pair {index}{_fault(row)}; {_generate(file.parent)}")
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


def _is_pair(row: object) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() == FIELDS
        and all(_is_text(value) for value in row.values())
    )


def _is_text(value: object) -> bool:
    # JSON can hold half a character ("\\ud800"), which can be neither printed nor tokenized.
    return (
        isinstance(value, str)
        and len(value) <= MAX_TEXT_LENGTH
        and (value.isascii() or _SURROGATE.search(value) is None)
    )


def _fault(row: object) -> str:
    """What keeps `row` from being a pair."""
    if not isinstance(row, dict):
        return " is not an object"
    for field in sorted(FIELDS - row.keys()):
        return f": field {field!r} is missing"
    for field in sorted(row.keys() - FIELDS):
        return f": unknown field {field[:60]!r} beside question, answer and image_file"
    field, value = next(item for item in row.items() if not _is_text(item[1]))
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        return f": field {field!r} has {len(value):,} characters; {MAX_TEXT_LENGTH:,} are the most"
    return f": field {field!r} is not text"


def _image_path(file: Path, index: int, image_file: str, data_dir: Path) -> str:
    path = PurePosixPath(image_file)
    if path.is_absolute() or ".." in path.parts or "\\" in image_file or not path.name:
        raise InputError(
            f"{file}: pair {index}: field 'image_file': {image_file[:80]!r} is not below "
            f"{data_dir}; give it as split/name, such as train/00000_00_im.jpg"
        )
    return str(data_dir / path)


def _check_pictures(file: Path, image_paths: set[str]) -> None:
    """One listing per folder: asking for each of 50,000 pictures takes far longer."""
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
            f"{min(missing)[:300]!r}; put them there, or {_generate(file.parent)}"
        )


def _contradiction(
    first: Path, second: Path, question: str, image_file: str, answers: tuple[str, str]
) -> InputError:
    where = f"{first} contradicts itself" if first == second else f"{first} and {second} disagree"
    return InputError(
        f"{where}: {question[:80]!r} about {image_file!r} has the answers "
        f"{answers[0][:40]!r} and {answers[1][:40]!r}; keep one"
    )


def _generate(folder: Path) -> str:
    return f"run python -m homework.generate_qa generate --data_dir {folder}"


def _normal(text: str) -> str:
    return text.strip().casefold().removesuffix(".").rstrip()
