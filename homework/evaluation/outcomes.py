"""Joins a benchmark's samples with labels, training coverage and answer probabilities.

VQABenchmarkResult --outcomes--> [Outcome], which `statistics` adds up
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import VQABenchmarkResult
from ..frames.split import (
    scenes,
)
from ..labels.questions import kind_of
from ..labels.vocabulary import Scores
from .statistics import Outcome, asked_kart, seen_in_training


def outcomes(
    result: VQABenchmarkResult,
    data_dir: Path,
    training: frozenset[tuple[str, str]] | None,
    scores: Sequence[Scores] | None = None,
) -> list[Outcome]:
    """A benchmark's samples with what is known of their views, in the same order.

    Args:
        data_dir: the folder that the pictures' names are given relative to.
        training: see `training_pairs`.
        scores: of each sample; see `ScoringModel`.
    """
    views = scenes([sample.image_path for sample in result.samples])
    found = []
    for index, sample in enumerate(result.samples):
        kind, scene = kind_of(sample.question), views[sample.image_path]
        kart = asked_kart(sample.question, sample.correct_answer, kind)
        found.append(
            Outcome(
                _below(sample.image_path, data_dir),
                sample.question,
                kind,
                sample.model_answer,
                sample.correct_answer,
                sample.is_correct,
                scene,
                seen_in_training(scene, kart, training),
                scores[index] if scores else (),
            )
        )
    return found


def _below(path: str, folder: Path) -> str:
    file = Path(path)
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
