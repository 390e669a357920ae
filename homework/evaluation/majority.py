"""The majority baseline: always give the most common answer, without looking at the picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..common.options import data_folder
from ..data import Item, VQABenchmarkResult, VQADataset, benchmark
from ..frames.qa_read import find_qa_files
from ..labels.questions import form_of


class MajorityModel:
    """Answers each question with the most common answer to its form in `items`.

    Attributes:
        answers: form of a question -> its most common answer; the alphabet decides a tie.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in items:
            counts[form_of(item["question"])][item["answer"]] += 1
        self.answers = {
            form: min(answers, key=lambda answer: (-answers[answer], answer))
            for form, answers in counts.items()
        }

    def answer(self, image_paths: list[str], questions: list[str]) -> list[str]:
        """The most common answers; "" to a form that `items` did not have."""
        return [self.answers.get(form_of(question), "") for question in questions]


def same_questions_baseline(
    result: VQABenchmarkResult, train_split: str, data_dir: str | Path | None
) -> tuple[VQABenchmarkResult, str]:
    """The majority baseline on the questions of `result`, and the source of its answers.

    Without pairs in the train split it takes the most common answers among these questions
    themselves, which can only raise the baseline.
    """
    items: list[Item] = [
        {"image_path": s.image_path, "question": s.question, "answer": s.correct_answer}
        for s in result.samples
    ]
    if not find_qa_files(data_folder(data_dir), train_split):
        return benchmark(MajorityModel(items), items), "these questions themselves"
    train_items = VQADataset(train_split, data_dir)
    return benchmark(MajorityModel(train_items), items), f"the {train_split} split"
