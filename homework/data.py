"""Question/answer pairs with their images, and the benchmark that measures a model on them.

It imports no torch and opens no image.

    data/<split>/*_qa_pairs.json --VQADataset--> items --benchmark(model)--> VQABenchmarkResult
"""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .common.errors import InputError, note
from .common.options import data_folder
from .frames.qa_read import QA_SUFFIX, how_to_get, qa_files, read_pairs
from .labels.questions import KINDS, kind_of

BATCH = 32  # questions per call of a model's `answer`, as in the course's benchmark
ALL = "all"  # label of the accuracy over all kinds

Item = Mapping[str, str]  # keys "question", "answer" and, to be answered, "image_path"


class VQADataset(Sequence[Item]):
    """The pairs of every `*_qa_pairs.json` in `<data_dir>/<split>/`, files in name order.

    Items are `{"image_path": absolute path, "question": ..., "answer": ...}`. Repeated pairs
    are kept once; `duplicates` counts those dropped. Pairs without an answer, and questions
    with contradictory answers, are left out with a line on standard error; `left_out` counts them.

    Args:
        split: name of a folder in `data_dir`, such as "train" or "valid".
        data_dir: the folder that `image_file` is relative to; `data` beside the package if None.
        max_samples: pairs to draw at random, with a fixed seed (see `draw`); None keeps all.

    Raises InputError if the split or a QA file is missing or malformed, or an image is missing.
    """

    def __init__(
        self, split: str, data_dir: str | Path | None = None, max_samples: int | None = None
    ) -> None:
        self.split = str(split)
        self.data_dir = Path(os.path.abspath(data_folder(data_dir)))
        self.files = qa_files(self.data_dir, self.split)
        read = read_pairs(self.files, self.data_dir)
        self.duplicates, self.left_out = read.duplicates, read.left_out.counts
        folder = self.data_dir / self.split
        for line in read.left_out.lines():
            note(f"{folder}: left out: {line}")
        if not read.pairs:
            if any(self.left_out.values()):
                raise InputError(f"{folder}: no pair is left of its *{QA_SUFFIX}; correct them")
            raise InputError(f"{folder}: its *{QA_SUFFIX} hold no pair; {how_to_get(folder)}")
        # Tuples that share one path string per image need a tenth of the memory of dicts.
        self._pairs = [read.pairs[index] for index in draw(len(read.pairs), max_samples)]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, str]:
        image_path, question, answer = self._pairs[index]
        return {"image_path": image_path, "question": question, "answer": answer}


def draw(total: int, n: int | None, seed: int = 0) -> list[int]:
    """Draw `n` of `total` indices without replacement, sorted; all if `n` is None or too large."""
    if n is None:
        return list(range(total))
    if not isinstance(n, int) or n < 1:
        raise InputError(f"max_samples: {n!r} is not a positive whole number; give 1 or more")
    if n >= total:
        return list(range(total))
    return sorted(random.Random(seed).sample(range(total), n))


# --- the benchmark ---


class Model(Protocol):
    """Anything that answers questions about images, several at a time."""

    def answer(self, image_paths: list[str], questions: list[str]) -> list[str]:
        """One answer per question about the image at the same index."""
        ...


@dataclass(frozen=True)
class BenchmarkSample:
    """One question with the model's answer and the correct one."""

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
    def accuracies(self) -> list[Accuracy]:
        """Correct answers of each kind that occurs, and last of all kinds."""
        return count_by_kind((kind_of(s.question), s.is_correct) for s in self.samples)

    @property
    def accuracy(self) -> float:
        """Share of the samples answered correctly, 0 to 1."""
        return self.accuracies[-1].value

    @property
    def accuracy_per_kind(self) -> dict[str, tuple[float, int]]:
        """Kind of question -> (accuracy, number of samples), for the kinds that occur."""
        return {
            accuracy.label: (accuracy.value, accuracy.total) for accuracy in self.accuracies[:-1]
        }


def count_by_kind(answers: Iterable[tuple[str, bool]]) -> list[Accuracy]:
    """Accuracy per kind from (kind, is correct), in the order of KINDS, and last of all kinds."""
    correct = defaultdict(list)
    for kind, is_right in answers:
        correct[kind].append(is_right)
        correct[ALL].append(is_right)
    return [
        Accuracy.count(kind, correct[kind]) for kind in (*KINDS, "other", ALL) if kind in correct
    ]


def is_correct(answer: str, expected: str) -> bool:
    """Compare two texts, ignoring case, surrounding space and one trailing full stop."""
    return _normal(answer) == _normal(expected)


def benchmark(
    model: Model,
    dataset: VQADataset | Sequence[Item],
    max_samples: int | None = None,
    batch_size: int | None = BATCH,
) -> VQABenchmarkResult:
    """Ask `model` the questions of `dataset` in their order; prints and writes nothing.

    Args:
        max_samples: questions to draw at random, with a fixed seed (see `draw`); None asks all.
        batch_size: questions per call of `answer`; None asks all in one call, for a model that
            makes its own batches.

    Raises InputError if there is nothing to ask, or `answer` did not return one text per question.
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


def _normal(text: str) -> str:
    return text.strip().casefold().removesuffix(".").rstrip()


class Accuracy(NamedTuple):
    """How many of some answers are correct."""

    label: str
    right: int
    total: int

    @classmethod
    def count(cls, label: str, right: Iterable[bool]) -> Accuracy:
        """Count the answers that are correct."""
        flags = list(right)
        return cls(label, sum(flags), len(flags))

    @property
    def value(self) -> float:
        """Share of the answers that are correct, from 0 to 1."""
        return self.right / self.total

    def row(self) -> dict[str, Any]:
        """For JSON: the counts, the accuracy and its 95% interval."""
        low, high = wilson_interval(self.value, self.total)
        return {**self._asdict(), "accuracy": self.value, "low": low, "high": high}


def wilson_interval(share: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a share of `total` trials (Wilson 1927); z = 1.96 for 95%."""
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
