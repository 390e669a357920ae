"""Labelled images in memory, and the batches of augmented ones that pre-training takes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from homework.common.errors import InputError
from homework.frames.images import open_image
from homework.frames.split import Skipped, frame_of, held_out, list_split, read_frames, shuffled
from homework.labels.scene import Scene
from homework.model import packing
from homework.model.inputs import InputBuilder

from .augment import Orders, View, orders
from .dense_labels import Centers, centers, labels
from .descriptions import Statement, statements
from .draws import Changes, draw

HELD_OUT = 0.02  # of the frames of each folder


def load_views(folder: Path, info_files: Sequence[str] | None = None) -> list[View]:
    """Every labelled view of a split, shuffled by frame: the same order on every machine.

    Args:
        info_files: read these alone, in their order.

    Raises:
        InputError: the folder or one of its files is wrong.
    """
    from tqdm import tqdm

    split, skipped = list_split(folder), Skipped()
    names = tqdm(info_files or shuffled(split.info_files), unit="frame", desc="decoding")
    views = [
        View(np.asarray(open_image(folder / image)), scene, image)
        for frame in read_frames(split, names, skipped)
        for image, scene in frame.views
    ]
    for line in skipped.lines():
        print(f"skipped: {line}")
    if not views:
        raise InputError(f"{folder}: none of its info files can be used")
    return views


def hold_out(folders: Sequence[list[View]]) -> tuple[list[View], list[View]]:
    """Split the views into those to train on and those to evaluate on, by frames of every folder.

    No scene is trained on and evaluated on, and none is evaluated on twice: in the dataset's train
    split two thirds of a held-out frame's views show a moment that other frames show, too.

    Args:
        folders: views of each folder; the first one's are measured on.
    """
    learned: list[View] = []
    kept: list[dict[Scene, View]] = []
    for views in folders:
        back = held_out((frame_of(view.source) for view in views), HELD_OUT)
        learned += [view for view in views if frame_of(view.source) not in back]
        kept.append({view.scene: view for view in views if frame_of(view.source) in back})
    known = {view.scene for view in learned}
    return learned, [view for scene, view in kept[0].items() if scene not in known]


class Batch(NamedTuple):
    """What goes through the model at a time: B images."""

    orders: Orders  # what becomes of the images of the run
    row: packing.Row  # of sentences about the first of them
    targets: dict[str, torch.Tensor]  # see `dense_labels.labels`, stacked
    centers: torch.Tensor  # int64 (K,), patches with a kart's centre, through the batch
    fine: Centers  # of tensors
    paths: list[str]
    weight: float = 1.0  # each process's mean counts the same


class Steps(Dataset):
    """The batch that each optimizer step takes, a function of the seed and the step alone.

    In the dataset's train split a moment that never moves fills more than half of a track's
    views. So that it does not fill half of the batches, views of one scene share a weight that
    grows with the square root of their number.

    Args:
        views: that are learned.
        recipe: "batch_size" of all processes, "seed"; "dense_steps", the first steps, in which
            nothing is described; "described", the share of a later step's images that are.
        patches: on a side of the squared image.
        fine_side: cells of the fine labels on a side of it.
        share: number of this process, and how many share a step.

    Attributes:
        donors: numbers of the views that karts are pasted from.
    """

    def __init__(
        self,
        views: Sequence[View],
        inputs: InputBuilder,
        recipe: Mapping[str, Any],
        patches: int,
        fine_side: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.views, self.inputs, self.share = views, inputs, share
        self.size, self.seed = recipe["batch_size"], recipe["seed"]
        self.dense_steps, self.described = recipe["dense_steps"], recipe.get("described", 0.5)
        self.patches, self.fine_side = patches, fine_side
        alike = Counter(view.scene for view in views)
        weights = [alike[view.scene] ** -0.5 for view in views]
        self._weights = list(accumulate(weights))
        self.donors = [number for number, view in enumerate(views) if len(view.scene.karts) > 1]
        self._donor_scenes = [views[number].scene for number in self.donors]
        self._donor_weights = list(accumulate(weights[number] for number in self.donors))

    def drawn(self, step: int) -> list[tuple[int, Changes]]:
        """The numbers of a step's views, of all processes, and what happens to each."""
        rng = random.Random(f"{self.seed}/{step}")
        drawn = []
        for _ in range(self.size):
            # Six views in ten show one kart and teach nothing about positions.
            if self.donors and rng.random() < 0.5:
                (number,) = rng.choices(self.donors, cum_weights=self._donor_weights)
            else:
                (number,) = rng.choices(range(len(self.views)), cum_weights=self._weights)
            drawn.append((number, draw(self.views[number].scene, self._donor_scenes, rng)))
        return drawn

    def __getitem__(self, step: int) -> Batch:
        rng = random.Random(f"{self.seed}/{step}/pairs")
        rank, processes = self.share
        numbers, changes = zip(*self.drawn(step)[rank::processes], strict=True)
        scenes = [change.scene for change in changes]
        described = int(len(scenes) * self.described) if step >= self.dense_steps else 0
        targets = [labels(scene, self.patches) for scene in scenes]
        stacked = {head: np.stack([each[head] for each in targets]) for head in targets[0]}
        return Batch(
            orders(self.views, numbers, changes, self.donors),
            sentence_row(self.inputs, [statements(scene, rng) for scene in scenes[:described]]),
            {head: torch.from_numpy(each) for head, each in stacked.items()},
            torch.from_numpy(stacked["center"].ravel().nonzero()[0]),
            Centers(*map(torch.from_numpy, centers(scenes, self.fine_side))),
            [self.views[number].source for number in numbers],
        )


def sentence_row(inputs: InputBuilder, sentences: Sequence[Sequence[Statement]]) -> packing.Row:
    """Sentences about each of some images, packed."""
    sequences = [
        inputs.statement_sequence((part.prompt, part.target) for part in some) for some in sentences
    ]
    return packing.pack(sequences, len(inputs.prefix_ids))
