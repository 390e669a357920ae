"""Joins benchmark samples with labels, training coverage and answer probabilities.

VQABenchmarkResult --outcomes--> [Outcome] --> statistics, page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import VQABenchmarkResult
from ..frames.split import scenes
from ..labels.questions import kind_of
from ..labels.vocabulary import Probabilities
from .statistics import Outcome, asked_kart, seen_in_training


def outcomes(
    result: VQABenchmarkResult,
    data_dir: Path,
    training: frozenset[tuple[str, str]] | None,
    probabilities: Sequence[Probabilities] = (),
) -> list[Outcome]:
    """One outcome per sample of `result`, in the same order.

    Args:
        data_dir: the folder that `image_file` is relative to.
        training: see `training_pairs`.
        probabilities: of each sample's possible answers; see `ScoringModel`.
    """
    views = scenes([sample.image_path for sample in result.samples])
    found = []
    for index, sample in enumerate(result.samples):
        kind, scene = kind_of(sample.question), views[sample.image_path]
        kart = asked_kart(sample.question, sample.correct_answer, kind)
        found.append(
            Outcome(
                image_file(sample.image_path, data_dir),
                sample.question,
                kind,
                sample.model_answer,
                sample.correct_answer,
                sample.is_correct,
                scene,
                seen_in_training(scene, kart, training),
                probabilities[index] if probabilities else (),
            )
        )
    return found


def image_file(image_path: str, data_dir: Path) -> str:
    """A picture's path relative to the data folder, as files of pairs give it."""
    path = Path(image_path)
    return path.relative_to(data_dir).as_posix() if path.is_relative_to(data_dir) else path.name
