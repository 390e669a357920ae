"""What is known of a benchmark's questions: their frames' labels, the training split, the scores.

VQABenchmarkResult --outcomes--> [Outcome], which `evaluation` adds up
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..data import VQABenchmarkResult
from ..frames.split import INFO_SUFFIX, Skipped, frame_of, list_split, read_frames, read_info
from ..labels.questions import kind_of
from ..labels.scene import Scene, view_scene
from ..labels.vocabulary import vocabulary
from .statistics import Outcome, asked_kart, seen_in_training

if TYPE_CHECKING:
    from ..base_vlm import BaseVLM

Scores = tuple[tuple[str, float], ...]  # (possible answer, probability), likeliest first


class Scoring:
    """A model that answers, and keeps beside how likely it finds each answer there could be.

    `scores` are those of the last call: for each question the answers of its closed vocabulary
    by a softmax over that vocabulary alone, so that they add up to one; () where it has none.
    """

    def __init__(self, vlm: BaseVLM) -> None:
        self.vlm = vlm
        self.scores: list[Scores] = []

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """The answers that the model itself gives; see BaseVLM.answer."""
        from ..model.likelihood import answer_and_score

        closed = [vocabulary(question) for question in questions]
        answers, found = answer_and_score(self.vlm, image_paths, questions, closed)
        self.scores = [softmax(*row) if row[0] else () for row in zip(closed, found, strict=True)]
        return answers


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
        scores: of each sample; see `Scoring`.
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
