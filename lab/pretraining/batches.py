"""Labelled pictures in memory, and the batches of augmented ones that pre-training takes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from homework.common.errors import InputError
from homework.common.workers import chunks, ordered_map
from homework.frames.pictures import open_picture
from homework.frames.split import (
    Skipped,
    Split,
    frame_of,
    held_out,
    list_split,
    read_frames,
    shuffled,
)
from homework.labels.scene import Scene
from homework.model import packing
from homework.model.inputs import InputBuilder

from . import augment, centers, dense_labels, draws
from .augment import View
from .descriptions import Statement, statements
from .device_augment import Orders, orders
from .draws import CHANCES, Changes


def load_views(data_dir: str | Path, num_workers: int = 0) -> list[View]:
    """Every labelled view of a split, shuffled by frame: the same order on every machine.

    Args:
        num_workers: processes that decode pictures; 0 decodes in this one.

    Raises:
        InputError: the folder or one of its files is wrong.
    """
    from tqdm import tqdm

    split = list_split(data_dir)
    names = shuffled(split.info_files)
    runs = chunks(names, max(num_workers, 1))
    views: list[View] = []
    skipped = Skipped()
    with (
        ordered_map(lambda run: _decoded(split, run), runs, num_workers) as results,
        tqdm(total=len(names), unit="frame", desc="decoding") as progress,
    ):
        for run, (some, left_out) in zip(runs, results, strict=True):
            views += some
            skipped.add(left_out)
            progress.update(len(run))
    for line in skipped.lines():
        print(f"skipped: {line}")
    if not views:
        raise InputError(f"{data_dir}: none of its info files can be used")
    return views


def _decoded(split: Split, names: Sequence[str]) -> tuple[list[View], Skipped]:
    """The views of some info files, and what was skipped."""
    skipped = Skipped()
    views = [
        View(np.asarray(open_picture(split.folder / picture)), scene, picture)
        for frame in read_frames(split, names, skipped)
        for picture, scene in frame.views
    ]
    return views, skipped


def hold_out(
    folders: Sequence[list[View]], by: str, share: float, recorded: Sequence[bool] = ()
) -> tuple[list[View], list[View]]:
    """Split the views into those to train on and those to evaluate on.

    No scene is trained on and evaluated on, and none is evaluated on twice: in the dataset's train
    split two thirds of a held-out frame's views show a moment that other frames show, too.

    Args:
        folders: views of each folder; the first one's are measured on.
        by: "frame" keeps a share of every folder's frames from learning. "pair" keeps all views
            that show one of a share of the (track, kart) pairs, "track" those of a share of the
            tracks, in whatever folder they are. "race" keeps the dataset's races, one a track, on
            a share of the tracks, and learns what recordings show of those.
        recorded: whether each folder is a recording; none is if empty.
    """
    kept_back = [set(held_out((_key(view, by) for view in views), share)) for views in folders]
    if by == "pair":
        names = held_out(set().union(*(_pairs(view) for view in folders[0])), share)
        kept_back = [
            {_key(view, by) for view in views if not names.isdisjoint(_pairs(view))}
            for views in folders
        ]
    elif by == "track":
        kept_back = [kept_back[0]] * len(folders)
    elif by == "race":
        of_dataset = [not known for known in recorded] or [True] * len(folders)
        kept_back = [kept_back[0] if real else set() for real in of_dataset]
    learned = [
        view
        for views, back in zip(folders, kept_back, strict=True)
        for view in views
        if _key(view, by) not in back
    ]
    known = {view.scene for view in learned}
    measured = {v.scene: v for v in folders[0] if _key(v, by) in kept_back[0]}
    return learned, [view for scene, view in measured.items() if scene not in known]


class AugmentedBatches:
    """Batches of augmented views, each a function of the seed and its step alone.

    In the dataset's train split a moment that never moves fills more than half of a track's
    views. So that it does not fill half of the batches, views of one scene share a weight that
    grows with the square root of their number.
    """

    def __init__(
        self,
        views: list[View],
        size: int,
        seed: int,
        augmentations: Collection[str] = tuple(CHANCES),
    ) -> None:
        self.views, self.size, self.seed, self.augmentations = views, size, seed, augmentations
        alike: dict[tuple, int] = defaultdict(int)
        for view in views:
            alike[view.scene] += 1
        weights = [alike[view.scene] ** -0.5 for view in views]
        self._weights = list(accumulate(weights))
        self.donors = [number for number, view in enumerate(views) if len(view.scene.karts) > 1]
        self._donor_views = [views[number] for number in self.donors]
        self._donor_scenes = [view.scene for view in self._donor_views]
        self._donor_weights = list(accumulate(weights[number] for number in self.donors))

    def __getitem__(self, step: int) -> list[View]:
        return self.applied(self.drawn(step))

    def drawn(self, step: int) -> list[tuple[int, Changes]]:
        """The numbers of a step's views, and what happens to each."""
        rng = random.Random(f"{self.seed}/{step}")
        return list(self._draw(rng))

    def applied(self, drawn: Sequence[tuple[int, Changes]]) -> list[View]:
        """The views after these changes."""
        return [
            augment.apply(self.views[number], changes, self._donor_views)
            for number, changes in drawn
        ]

    def _draw(self, rng: random.Random) -> Iterator[tuple[int, Changes]]:
        everything = range(len(self.views))
        for _ in range(self.size):
            # Six views in ten show one kart and teach nothing about positions.
            if self.donors and rng.random() < 0.5:
                (number,) = rng.choices(self.donors, cum_weights=self._donor_weights)
            else:
                (number,) = rng.choices(everything, cum_weights=self._weights)
            scene = self.views[number].scene
            yield number, draws.draw(scene, self._donor_scenes, rng, self.augmentations)


class Batch(NamedTuple):
    """What goes through the model at a time: B pictures."""

    squares: torch.Tensor | None  # uint8 (B, side, side, 3); None where `orders` tells them
    row: packing.Row  # of sentences about the first of them
    targets: dict[str, torch.Tensor]  # see `dense_labels.labels`, stacked
    centers: torch.Tensor  # int64 (K,), patches with a kart's centre, through the batch
    fine: centers.Centers  # of tensors
    paths: list[str]
    orders: Orders | None = None  # what the device is to make of the pictures in its memory
    weight: float = 1.0  # each process's mean counts the same


class Steps(Dataset):
    """The batch that each optimizer step takes, by the number of the step.

    Args:
        drawn: the views of each step, of all processes.
        patches: on a side of the squared picture.
        fine_side: cells of the fine labels on a side of it.
        dense_steps: the first steps, in which nothing is described.
        share: number of this process, and how many share a step.
        on_device: leave the pictures to the device (`device_augment`), and draw the changes alone.
        described: share of a step's pictures that are described, after the dense steps.
    """

    def __init__(
        self,
        drawn: AugmentedBatches,
        inputs: InputBuilder,
        patches: int,
        fine_side: int,
        dense_steps: int,
        share: tuple[int, int],
        on_device: bool = False,
        described: float = 0.5,
    ) -> None:
        self.drawn, self.inputs, self.described = drawn, inputs, described
        self.patches, self.fine_side = patches, fine_side
        self.dense_steps, self.share, self.on_device = dense_steps, share, on_device

    def __getitem__(self, step: int) -> Batch:
        rng = random.Random(f"{self.drawn.seed}/{step}/pairs")
        rank, processes = self.share
        drawn = self.drawn.drawn(step)[rank::processes]
        described = int(len(drawn) * self.described) if step >= self.dense_steps else 0
        sentences = [statements(changes.scene, rng) for _, changes in drawn[:described]]
        if not self.on_device:
            return self.batch(self.drawn.applied(drawn), sentences)
        views, (numbers, changes) = self.drawn.views, zip(*drawn, strict=True)
        asked = orders(views, numbers, changes, self.drawn.donors)
        paths = [views[number].source for number in numbers]
        return self._batch([change.scene for change in changes], paths, sentences, None, asked)

    def batch(self, views: list[View], sentences: list[list[Statement]]) -> Batch:
        """Pictures, dense and fine labels of `views`, sentences about the first packed."""
        squares = [self.inputs.resize(Image.fromarray(view.picture)) for view in views]
        paths = [view.source for view in views]
        stacked = torch.from_numpy(np.stack(squares))
        return self._batch([view.scene for view in views], paths, sentences, stacked)

    def _batch(
        self,
        scenes: list[Scene],
        paths: list[str],
        sentences: list[list[Statement]],
        squares: torch.Tensor | None,
        asked: Orders | None = None,
    ) -> Batch:
        targets = [dense_labels.labels(scene, self.patches) for scene in scenes]
        sequences = [
            self.inputs.statement_sequence((part.prompt, part.target) for part in some)
            for some in sentences
        ]
        fine = centers.centers(scenes, self.fine_side)
        with_center = np.stack([target["center"] for target in targets]).ravel().nonzero()[0]
        return Batch(
            squares,
            packing.pack(sequences, len(self.inputs.prefix_ids)),
            {
                head: torch.from_numpy(np.stack([target[head] for target in targets]))
                for head in targets[0]
            },
            torch.from_numpy(with_center),
            centers.Centers(*(torch.from_numpy(part) for part in fine)),
            paths,
            asked,
        )


def _key(view: View, by: str) -> str:
    """What is held out together: a frame, a view with a pair, a track."""
    return {"frame": frame_of(view.source), "pair": view.source}.get(by, view.scene.track)


def _pairs(view: View) -> set[str]:
    """The (track, kart) pairs that a view shows."""
    return {f"{view.scene.track} {kart.name}" for kart in view.scene.karts}
