"""Question/answer pairs with their pictures, and the benchmark that scores a model on them.

No torch here, and no picture is opened.

    data/<split>/*_qa_pairs.json --VQADataset--> items --benchmark(model)--> VQABenchmarkResult
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .common.errors import InputError
from .common.files import DATA_DIR
from .frames.qa_file import QA_SUFFIX, how_to_generate, qa_files, read_pairs
from .labels.questions import KINDS, kind_of

BATCH = 32  # questions in one call of a model's `answer`, as in the course's own benchmark

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
        self.files = qa_files(self.data_dir, self.split)
        pairs, self.duplicates = read_pairs(self.files, self.data_dir)
        if not pairs:
            raise InputError(
                f"{self.data_dir / self.split}: its *{QA_SUFFIX} hold no pair; "
                f"{how_to_generate(self.data_dir / self.split)}"
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


def _normal(text: str) -> str:
    return text.strip().casefold().removesuffix(".").rstrip()
