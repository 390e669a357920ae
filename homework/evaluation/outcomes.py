"""Joins benchmark samples with labels, training coverage and answer probabilities.

VQABenchmarkResult --outcomes--> [Outcome] --> statistics, page
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..data import VQABenchmarkResult
from ..frames.split import (
    INFO_SUFFIX,
    Skipped,
    frame_of,
    list_split,
    read_frames,
    read_info,
    view_of,
)
from ..labels.questions import Probabilities, kind_of
from ..labels.scene import Scene, view_scene
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


def scenes(pictures: Iterable[str]) -> dict[str, Scene | None]:
    """Labels of each picture; None where no usable info file lies beside it."""
    info_of = cache(_info)
    found: dict[str, Scene | None] = {}
    for picture in dict.fromkeys(pictures):
        folder, name = os.path.split(picture)
        info, view = info_of(f"{folder}/{frame_of(name)}{INFO_SUFFIX}"), view_of(name)
        found[picture] = None
        if info is not None and view is not None:
            with suppress(ValueError):
                found[picture] = view_scene(info, view)
    return found


def _info(file: str) -> dict[str, Any] | None:
    try:
        return read_info(file)
    except InputError:
        return None


def training_pairs(folder: Path) -> frozenset[tuple[str, str]] | None:
    """The (track, kart) pairs that some view of a split shows; None without its info files."""
    try:
        split = list_split(folder)
    except InputError:
        return None
    return frozenset(
        (scene.track, kart.name)
        for frame in read_frames(split, split.info_files, Skipped())
        for _, scene in frame.views
        for kart in scene.karts
    )
