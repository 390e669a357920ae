"""Labelled pictures in memory, and the augmented batches that pre-training draws from them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from . import augment
from .augment import View
from .files import InputError
from .frames import Skipped, frame_of, held_out, list_split, read_frames, shuffled
from .pictures import open_picture


def load_views(data_dir: str | Path) -> list[View]:
    """Every labelled view of a split, shuffled by frame: the same order on every machine.

    Raises:
        InputError: the folder or one of its files is wrong.
    """
    from tqdm import tqdm

    split = list_split(data_dir)
    skipped = Skipped()
    views = [
        View(np.asarray(open_picture(split.folder / picture)), scene, picture)
        for name in tqdm(shuffled(split.info_files), unit="frame", desc="decoding")
        for frame in read_frames(split, [name], skipped)
        for picture, scene in frame.views
    ]
    for line in skipped.lines():
        print(f"skipped: {line}")
    if not views:
        raise InputError(f"{data_dir}: none of its info files can be used")
    return views


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


def _key(view: View, by: str) -> str:
    """What is held out together: a frame, a view with a pair, a track."""
    return {"frame": frame_of(view.source), "pair": view.source, "track": view.scene.track}[by]


def _pairs(view: View) -> set[str]:
    """The (track, kart) pairs that a view shows."""
    return {f"{view.scene.track} {kart.name}" for kart in view.scene.karts}
