"""Reports for the tests, of a model that answers at random: no weights, made in a moment."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from homework.data import BenchmarkSample, VQABenchmarkResult, is_correct
from homework.evaluation import page
from homework.evaluation.outcomes import outcomes
from homework.frames.balance import balanced_pairs
from homework.frames.split import list_split, training_pairs
from homework.labels.vocabulary import vocabulary
from homework.model.likelihood import softmax


class Guesser:
    """Gives scores at random; answers with the likeliest."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def score(self, image_paths, questions, candidates):
        return [[self.random.uniform(-9, 0) for _ in answers] for answers in candidates]


def make_outcomes(data_dir: Path, per_kind: int, seed: int = 0):
    """Outcomes about `valid`, trained on `train`, with the path of each one's picture."""
    drawn, _ = balanced_pairs(list_split(data_dir / "valid"), per_kind)
    paths = [str(data_dir / pair["image_file"]) for pair in drawn]
    asked = [pair["question"] for pair in drawn]
    scores = [
        softmax(vocabulary(question), values)
        for question, values in zip(
            asked, Guesser(seed).score(paths, asked, map(vocabulary, asked)), strict=True
        )
    ]
    result = VQABenchmarkResult(
        [
            BenchmarkSample(
                path, pair["question"], best[0][0], pair["answer"],
                is_correct(best[0][0], pair["answer"]),
            )
            for path, pair, best in zip(paths, drawn, scores, strict=True)
        ]
    )  # fmt: skip
    training = training_pairs(data_dir / "train")
    return outcomes(result, data_dir, training, scores), paths


def make_report(folder: Path, data_dir: Path, per_kind: int = 12, seed: int = 0, against=None):
    """Write a report to `folder`; returns its data."""
    outcomes, paths = make_outcomes(data_dir, per_kind, seed)
    about = {
        "checkpoint": f"guesser_{seed}</script><b>&amp;",
        "adapter_sha256": f"{seed:064x}",
        "base": "none",
        "split": "valid",
        "train_split": "train",
        "seen_known": True,
        "majority_source": "the train split",
        "versions": {"torch": "0"},
    }
    data = page.report_data(outcomes, about, {"all": 0.4, "ego": 0.1})
    if against:
        page.add_comparison(data, outcomes, page.read_report(against))
    files = {o.image_file: path for o, path in zip(outcomes, paths, strict=True)}
    heat = {index: np.eye(12, dtype=np.float32) for index in range(0, len(outcomes), 2)}
    page.write_report(folder, data, files, heat, "none")
    return data
