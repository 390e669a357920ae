"""Reports for the tests, of a model that answers at random: no weights, made in a moment."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from homework.data import Accuracy, BenchmarkSample, VQABenchmarkResult, is_correct
from homework.evaluation import report
from homework.evaluation.measure import outcomes, training_pairs
from homework.evaluation.runs import read_run
from homework.frames.qa_write import balanced_pairs
from homework.frames.split import list_split
from homework.inspection.figures import curves
from homework.labels.questions import possible_answers
from homework.model.generation import softmax

# Of a training, as trainer_state.json has it.
LOG = [
    *(
        {"step": step, "loss": 40 / (step + 10), "accuracy": step / 250}
        for step in range(0, 200, 10)
    ),
    *(
        {"step": step, "eval_loss": 2.0, "eval_accuracy": step / 300, "held-out ego": step / 400}
        for step in (100, 200)
    ),
]


class Guesser:
    """Gives log-probabilities at random."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def score(self, image_paths, questions, candidates):
        return [[self.random.uniform(-9, 0) for _ in answers] for answers in candidates]


def make_outcomes(data_dir: Path, per_kind: int, seed: int = 0):
    """Outcomes about `valid`, trained on `train`, with the path of each one's image."""
    drawn, _ = balanced_pairs(list_split(data_dir / "valid"), per_kind)
    paths = [str(data_dir / pair["image_file"]) for pair in drawn]
    asked = [pair["question"] for pair in drawn]
    probabilities = [
        softmax(possible_answers(question), values)
        for question, values in zip(
            asked, Guesser(seed).score(paths, asked, map(possible_answers, asked)), strict=True
        )
    ]
    result = VQABenchmarkResult(
        [
            BenchmarkSample(
                path, pair["question"], best[0][0], pair["answer"],
                is_correct(best[0][0], pair["answer"]),
            )
            for path, pair, best in zip(paths, drawn, probabilities, strict=True)
        ]
    )  # fmt: skip
    training = training_pairs(data_dir / "train")
    return outcomes(result, data_dir, training, probabilities), paths


def make_report(folder: Path, data_dir: Path, per_kind: int = 12, seed: int = 0, against=()):
    """Write a report to `folder`, compared with some others; returns its data."""
    outcomes, paths = make_outcomes(data_dir, per_kind, seed)
    about = {
        "checkpoint": f"guesser_{seed}</script><b>&amp;",
        "date": f"2026-01-0{seed + 1} 09:30+00:00",
        "recipe": {"learning_rate": 0.001, "max_samples": None},
        "curves": curves(LOG),
        "ask": {"checkpoint": "runs/it's", "data_dir": "data"},
        "adapter_sha256": f"{seed:064x}",
        "base": "none",
        "versions": {"torch": "0"},
    }
    others = [read_run(path) for path in against]
    measured: Any = SimpleNamespace(
        dataset=SimpleNamespace(split="valid"),
        result=SimpleNamespace(samples=[SimpleNamespace(image_path=path) for path in paths]),
        outcomes=outcomes,
        baseline=SimpleNamespace(accuracies=[Accuracy("ego", 1, 10), Accuracy("all", 4, 10)]),
        source="the train split",
        train_split="train",
        seen_known=True,
    )
    heat = {index: np.eye(12, dtype=np.float32) for index in range(0, len(outcomes), 2)}
    report.write_report(folder, measured, about, others, heat)
    return report.report_data(measured, about, others)
