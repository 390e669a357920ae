"""The majority baseline: what always giving the commonest answer scores, pictures unseen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.files import DATA_DIR
from ..data import Item, VQABenchmarkResult, VQADataset, benchmark
from ..frames.qa_file import QA_SUFFIX
from ..labels.questions import FRONT_OR_BEHIND, LEFT_OR_RIGHT, WHERE, kart_in
from .statistics import ALL


def template(question: str) -> str:
    """The question with the kart it names, if any, replaced by "{}"."""
    kart = kart_in(question)
    if kart is None:
        return question
    forms = (LEFT_OR_RIGHT, FRONT_OR_BEHIND, WHERE)
    return next(form for form in forms if form.format(kart) == question)


def majority_answers(items: Iterable[Item]) -> dict[str, str]:
    """Template of a question -> its commonest answer (of equals, the first by alphabet)."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        counts[template(item["question"])][item["answer"]] += 1
    return {
        form: min(answers, key=lambda answer: (-answers[answer], answer))
        for form, answers in counts.items()
    }


class MajorityModel:
    """Answers each question with the commonest answer that `items` give to its template."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.answers = majority_answers(items)

    def answer(self, image_paths: list[str], questions: list[str]) -> list[str]:
        """The commonest answers; "" to a template that `items` did not have."""
        return [self.answers.get(template(question), "") for question in questions]


def majority_baseline(
    train_items: Iterable[Item], test_items: VQADataset | Sequence[Item]
) -> VQABenchmarkResult:
    """The benchmark of always giving the commonest answer of `train_items`.

    Where there are no training pairs, give the test items twice and say so beside the number.
    """
    return benchmark(MajorityModel(train_items), test_items)


def majority_accuracy(baseline: VQABenchmarkResult) -> dict[str, float]:
    """Kind and "all" -> accuracy of the majority baseline."""
    kinds = {kind: accuracy for kind, (accuracy, _) in baseline.accuracy_per_kind.items()}
    return {**kinds, ALL: baseline.accuracy}


def same_questions_baseline(
    result: VQABenchmarkResult, train_split: str, data_dir: str | Path | None
) -> tuple[VQABenchmarkResult, str]:
    """The majority baseline on the samples of `result`, and where its answers come from.

    Without question/answer pairs in the train split, the samples' own commonest answers are
    taken, which can only flatter the baseline.
    """
    asked: list[Item] = [
        {
            "image_path": sample.image_path,
            "question": sample.question,
            "answer": sample.correct_answer,
        }
        for sample in result.samples
    ]
    folder = Path(data_dir or DATA_DIR) / train_split
    if not list(folder.glob(f"*{QA_SUFFIX}")):
        return majority_baseline(asked, asked), "these questions themselves"
    train_items = VQADataset(train_split, data_dir)
    return majority_baseline(train_items, asked), f"the {train_split} split"
