"""Measure a model on a split: its answers joined with labels, and the majority baseline.

VQABenchmarkResult --outcomes--> [Outcome] --> statistics, page
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import distributed
from ..common.errors import InputError
from ..common.options import data_folder
from ..data import Item, Model, VQABenchmarkResult, VQADataset, benchmark
from ..frames.qa_read import find_qa_files
from ..frames.split import (
    INFO_SUFFIX,
    Skipped,
    frame_of,
    list_split,
    read_frames,
    read_info,
    view_of,
)
from ..labels.questions import Probabilities, form_of, kind_of
from ..labels.scene import Scene, view_scene
from .runs import Run, image_file
from .statistics import Outcome, accuracy_table, asked_kart, seen_in_training

if TYPE_CHECKING:
    from ..model.vlm import BaseVLM


@dataclass(frozen=True)
class Measured:
    """A benchmark with everything that is reported about it."""

    dataset: VQADataset
    result: VQABenchmarkResult
    outcomes: list[Outcome]  # one per sample of the result
    baseline: VQABenchmarkResult  # the majority baseline on the same questions
    source: str  # where the answers of the baseline come from
    train_split: str | None  # None if it is not known
    seen_known: bool  # whether the info files of the training split are present
    seconds: float  # spent answering
    base: VQABenchmarkResult | None  # the base alone on the same questions

    def table(self) -> str:
        """The text to print; see `accuracy_table`."""
        return accuracy_table(self.result, self.baseline, self.source, self.outcomes, self.base)

    def base_run(self, name: str) -> list[Run]:
        """The answers of the base alone, to compare with; none if it was not asked."""
        if not self.base:
            return []
        answers = {
            (image_file(s.image_path, self.dataset.data_dir), s.question): s.model_answer
            for s in self.base.samples
        }
        return [Run(f"{name} alone", "", answers)]


def measure(
    model: Model,
    dataset: VQADataset,
    max_samples: int | None,
    train_split: str | None,
    baseline_split: str,
    base: VQABenchmarkResult | None = None,
) -> Measured:
    """Ask the questions of the dataset and join the answers with their labels.

    Args:
        model: asked everything in one call; its `probabilities`, if it has some, are kept.
        max_samples: questions to draw at random, with a fixed seed; None asks all.
        train_split: what the model was trained on, if it is known; tells which karts it has seen.
        baseline_split: where the majority baseline takes its answers from.
        base: the base alone on the same questions.
    """
    start = time.perf_counter()
    # One call of `answer`: models make their own batches and show one progress bar.
    result = benchmark(model, dataset, max_samples, batch_size=None)
    seconds = time.perf_counter() - start
    training = training_pairs(dataset.data_dir / train_split) if train_split else None
    computed = getattr(model, "probabilities", ())
    joined = outcomes(result, dataset.data_dir, training, computed)
    baseline, source = same_questions_baseline(result, baseline_split, dataset.data_dir)
    known = training is not None
    return Measured(dataset, result, joined, baseline, source, train_split, known, seconds, base)


def measure_adapter(
    vlm: BaseVLM,
    dataset: VQADataset,
    max_samples: int | None,
    baseline_split: str | None,
    base_alone: bool | None,
    probabilities: bool,
) -> Measured | None:
    """Evaluate a loaded adapter, and before it the base alone: the same model, adapter off.

    Args:
        vlm: with an adapter that is not merged yet; this call merges it.
        max_samples, baseline_split: see `measure`; the split is that of the training if omitted.
        base_alone: ask the base as well; if None, where there are probabilities.
        probabilities: compute the probabilities of all possible answers. Then the main process
            answers all questions; otherwise the processes share them.

    Returns:
        None in the processes beside the main one.
    """
    from ..model.adapter import merge
    from ..model.generation import ScoringModel

    if probabilities and not distributed.is_main():
        return None
    alone = None
    if probabilities if base_alone is None else base_alone:
        with vlm.base_alone() as base:
            asked = base if probabilities else DistributedModel(base)
            alone = benchmark(asked, dataset, max_samples, batch_size=None)
    merge(vlm)
    model = ScoringModel(vlm) if probabilities else DistributedModel(vlm)
    assert vlm.adapter
    trained = vlm.adapter.split
    baseline = str(baseline_split or trained or "train")
    measured = measure(model, dataset, max_samples, trained, baseline, alone)
    return measured if distributed.is_main() else None


class DistributedModel:
    """Divides the questions among the processes; one process answers all about an image."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """All answers, in the order asked; every process gets them all."""
        images = {path: place for place, path in enumerate(dict.fromkeys(image_paths))}
        mine = [
            index
            for index, path in enumerate(image_paths)
            if images[path] % distributed.world_size() == distributed.rank()
        ]
        found = self.model.answer(
            [image_paths[index] for index in mine], [questions[index] for index in mine]
        )
        answers = [""] * len(questions)
        for part in distributed.gather(list(zip(mine, found, strict=True))):
            for index, answer in part:
                answers[index] = answer
        return answers


# --- the answers joined with labels ---


def outcomes(
    result: VQABenchmarkResult,
    data_dir: Path,
    training: frozenset[tuple[str, str]] | None,
    probabilities: Sequence[Probabilities] = (),
) -> list[Outcome]:
    """One outcome per sample of `result`, in the same order.

    `image_file` is relative to `data_dir`; `training` is of `training_pairs`, and `probabilities`,
    one entry for each sample, of a `ScoringModel`.
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


def scenes(images: Iterable[str]) -> dict[str, Scene | None]:
    """Labels of each image; None where no usable info file lies beside it."""
    info_of = cache(_info)
    found: dict[str, Scene | None] = {}
    for image in dict.fromkeys(images):
        folder, name = os.path.split(image)
        info, view = info_of(f"{folder}/{frame_of(name)}{INFO_SUFFIX}"), view_of(name)
        found[image] = None
        if info is not None and view is not None:
            with suppress(ValueError):
                found[image] = view_scene(info, view)
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


# --- the majority baseline: the most common answer, without looking at the image ---


class MajorityModel:
    """Answers with the most common answer to a question's form; the alphabet decides a tie."""

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


def check_split(flag: str, split: str | None, data_dir: str | Path | None) -> None:
    """Raise InputError if there is no split of this name; the default, train, may be missing."""
    folder = data_folder(data_dir)
    if split in (None, "train") or (folder / split).is_dir() or find_qa_files(folder, split):
        return
    raise InputError(f"{flag}: {folder / split}: no such split; give another one, or leave it out")
