"""Labelled pictures in memory, and the augmented batches that pre-training draws from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import augment
from .augment import View
from .files import InputError
from .frames import Skipped, list_split, read_frames, shuffled
from .pictures import open_picture
from .scene import MIN_BOX_SIDE, PICTURE_SIZE

MAX_ENLARGEMENT = 1.5  # of a pasted kart; more would give it away by its blur


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


class AugmentedBatches:
    """Batches of augmented views, each a function of the seed and its step alone."""

    def __init__(self, views: list[View], size: int, seed: int) -> None:
        self.views, self.size, self.seed = views, size, seed
        self.several = [view for view in views if len(view.scene.karts) > 1]

    def __getitem__(self, step: int) -> list[View]:
        rng = random.Random(f"{self.seed}/{step}")
        return list(self._draw(rng))

    def _draw(self, rng: random.Random) -> Iterator[View]:
        for _ in range(self.size):
            # Six views in ten show one kart and teach nothing about positions.
            view = rng.choice(self.views if rng.random() < 0.5 else self.several)
            if rng.random() < 0.4:
                view = paste_random(view, self.several, rng)
            if rng.random() < 0.7:
                view = augment.crop(view, rng)
            if rng.random() < 0.5:
                view = augment.mirror(view)
            yield augment.jitter(view, rng)


def paste_random(view: View, donors: list[View], rng: random.Random) -> View:
    """Give the view a kart of another frame, at a place and scale where some frame has one."""
    donor = rng.choice(donors)
    kart = max(donor.scene.karts, key=lambda kart: rng.random() * (kart.box[2] - kart.box[0]))
    place = rng.choice(rng.choice(donors).scene.karts)
    # The place gives the height and where the kart stands, the donor the proportions.
    width, height = kart.box[2] - kart.box[0], kart.box[3] - kart.box[1]
    scale = (place.box[3] - place.box[1]) / height
    x1, y2 = int(place.center[0] - width * scale / 2), place.box[3]
    x2, y1 = x1 + int(width * scale), place.box[1]
    if scale > MAX_ENLARGEMENT or x1 < 0 or x2 > PICTURE_SIZE[0] or x2 - x1 < MIN_BOX_SIDE:
        return view
    return augment.paste(view, donor, kart, (x1, y1, x2, y2))
