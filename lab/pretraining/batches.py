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
from homework.model import packing
from homework.model.inputs import InputBuilder

from . import augment, centers, dense_labels
from .augment import View
from .descriptions import Statement, statements

TOLD = 0.5  # share of the pictures that are described, once they are


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


def hold_out(folders: Sequence[list[View]], by: str, share: float) -> tuple[list[View], list[View]]:
    """Part the views in those to learn from and those to measure on.

    A scene that is learned from is not measured on, and none twice: in the dataset's train split
    two thirds of a held-out frame's views show a moment that other frames show, too.

    Args:
        folders: views of each folder; the first one's are measured on.
        by: "frame" keeps a share of every folder's frames from learning. "pair" keeps all views
            that show one of a share of the (track, kart) pairs, "track" those of a share of the
            tracks, in whatever folder they are.
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
        augmentations: Collection[str] = tuple(augment.CHANCES),
    ) -> None:
        self.views, self.size, self.seed, self.augmentations = views, size, seed, augmentations
        alike: dict[tuple, int] = defaultdict(int)
        for view in views:
            alike[view.scene] += 1
        weights = [alike[view.scene] ** -0.5 for view in views]
        self._weights = list(accumulate(weights))
        several = [len(view.scene.karts) > 1 for view in views]
        self.several = [view for view, more in zip(views, several, strict=True) if more]
        self._several_weights = list(
            accumulate(weight for weight, more in zip(weights, several, strict=True) if more)
        )

    def __getitem__(self, step: int) -> list[View]:
        rng = random.Random(f"{self.seed}/{step}")
        return list(self._draw(rng))

    def _draw(self, rng: random.Random) -> Iterator[View]:
        for _ in range(self.size):
            # Six views in ten show one kart and teach nothing about positions.
            if self.several and rng.random() < 0.5:
                (view,) = rng.choices(self.several, cum_weights=self._several_weights)
            else:
                (view,) = rng.choices(self.views, cum_weights=self._weights)
            yield augment.augmented(view, self.several, rng, self.augmentations)


class Batch(NamedTuple):
    """What goes through the model at a time: B pictures."""

    squares: torch.Tensor  # uint8 (B, side, side, 3)
    row: packing.Row  # of sentences about the first of them
    targets: dict[str, torch.Tensor]  # see `dense_labels.labels`, stacked
    fine: centers.Centers  # of tensors
    paths: list[str]
    weight: float = 1.0  # each process's mean counts the same

    def to(self, device) -> Batch:
        """The batch with its tensors on another device."""
        return self._replace(
            squares=self.squares.to(device, non_blocking=True),
            row=self.row.to(device),
            targets={
                head: target.to(device, non_blocking=True) for head, target in self.targets.items()
            },
            fine=centers.Centers(*(part.to(device, non_blocking=True) for part in self.fine)),
        )


class Steps(Dataset):
    """The batch that each optimizer step takes, by the number of the step.

    Args:
        drawn: the views of each step, of all processes.
        patches: on a side of the squared picture.
        fine_side: cells of the fine labels on a side of it.
        dense_steps: the first steps, in which nothing is described.
        share: number of this process, and how many share a step.
    """

    def __init__(
        self,
        drawn: AugmentedBatches,
        inputs: InputBuilder,
        patches: int,
        fine_side: int,
        dense_steps: int,
        share: tuple[int, int],
    ) -> None:
        self.drawn, self.inputs = drawn, inputs
        self.patches, self.fine_side = patches, fine_side
        self.dense_steps, self.share = dense_steps, share

    def __getitem__(self, step: int) -> Batch:
        rng = random.Random(f"{self.drawn.seed}/{step}/pairs")
        rank, processes = self.share
        views = self.drawn[step][rank::processes]
        described = views[: int(len(views) * TOLD)] if step >= self.dense_steps else []
        return self.batch(views, [statements(view.scene, rng) for view in described])

    def batch(self, views: list[View], told: list[list[Statement]]) -> Batch:
        """Pictures, dense and fine labels of `views`, sentences about the first packed."""
        squares = [self.inputs.resize(Image.fromarray(view.picture)) for view in views]
        targets = [dense_labels.labels(view.scene, self.patches) for view in views]
        sequences = [
            self.inputs.statement_sequence((part.given, part.told) for part in some)
            for some in told
        ]
        fine = centers.centers([view.scene for view in views], self.fine_side)
        return Batch(
            torch.from_numpy(np.stack(squares)),
            packing.pack(sequences, len(self.inputs.prefix_ids)),
            {
                head: torch.from_numpy(np.stack([target[head] for target in targets]))
                for head in targets[0]
            },
            centers.Centers(*(torch.from_numpy(part) for part in fine)),
            [view.source for view in views],
        )


def _key(view: View, by: str) -> str:
    """What is held out together: a frame, a view with a pair, a track."""
    return {"frame": frame_of(view.source), "pair": view.source, "track": view.scene.track}[by]


def _pairs(view: View) -> set[str]:
    """The (track, kart) pairs that a view shows."""
    return {f"{view.scene.track} {kart.name}" for kart in view.scene.karts}
