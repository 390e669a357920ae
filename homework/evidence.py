"""What is known of a benchmark's questions: their frames' labels, the training split, the scores.

VQABenchmarkResult --outcomes--> [Outcome], which `evaluation` adds up
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .data import BenchmarkSample, VQABenchmarkResult
from .evaluation import Outcome, asked_kart, seen_in_training
from .files import InputError
from .frames import INFO_SUFFIX, Skipped, frame_of, list_split, read_frames, read_info
from .questions import kind_of
from .scene import Scene, view_scene
from .vocabulary import vocabulary

Scores = tuple[tuple[str, float], ...]  # (possible answer, probability), likeliest first


class Scorer(Protocol):
    """A model that can say how likely it finds given answers."""

    def score(
        self, image_paths: Sequence, questions: Sequence[str], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-probability of each candidate of each question."""


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
        scores: of each sample; see `probabilities`.
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


def scenes(pictures: Sequence[str]) -> dict[str, Scene | None]:
    """Picture -> its labels; None where no usable info file lies beside it."""
    infos: dict[str, dict | None] = {}
    found: dict[str, Scene | None] = {}
    for picture in dict.fromkeys(map(str, pictures)):
        folder, name = os.path.split(picture)
        file = f"{folder}/{frame_of(name)}{INFO_SUFFIX}"
        if file not in infos:
            try:
                infos[file] = read_info(file)
            except InputError:
                infos[file] = None
        found[picture] = _scene(infos[file], name)
    return found


def training_pairs(folder: str | Path) -> frozenset[tuple[str, str]] | None:
    """The (track, kart) pairs that some view of a split shows; None without its info files."""
    try:
        split = list_split(folder)
    except InputError:
        return None
    frames = read_frames(split, split.info_files, Skipped())
    return frozenset(
        (scene.track, kart.name)
        for frame in frames
        for _, scene in frame.views
        for kart in scene.karts
    )


def probabilities(model: Scorer, samples: Sequence[BenchmarkSample]) -> list[Scores]:
    """How likely the model finds each answer of a question's closed vocabulary.

    They are a softmax over that vocabulary alone: they add up to one. () for a question that
    has none.
    """
    asked = [sample for sample in samples if vocabulary(sample.question)]
    found = iter(
        model.score(
            [sample.image_path for sample in asked],
            [sample.question for sample in asked],
            [vocabulary(sample.question) for sample in asked],
        )
        if asked
        else ()
    )
    return [
        softmax(vocabulary(sample.question), next(found)) if vocabulary(sample.question) else ()
        for sample in samples
    ]


def softmax(answers: Sequence[str], log_probabilities: Sequence[float]) -> Scores:
    """Answers with their shares of the probability, likeliest first."""
    most = max(log_probabilities)
    weights = [math.exp(value - most) for value in log_probabilities]
    total = sum(weights)
    ranked = zip(answers, (weight / total for weight in weights), strict=True)
    return tuple(sorted(ranked, key=lambda pair: -pair[1]))


def _scene(info: dict | None, picture: str) -> Scene | None:
    parts = picture.split("_")
    if info is None or len(parts) < 2 or not parts[1].isdigit():
        return None
    try:
        return view_scene(info, int(parts[1]))
    except ValueError:
        return None


def _below(path: str, folder: Path) -> str:
    file = Path(path)
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
