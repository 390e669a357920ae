"""The sheet of `python -m lab.pretrain look`: one view after each augmentation of pre-training."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from homework.common.errors import InputError
from homework.frames.pictures import open_picture
from homework.frames.split import Skipped, list_split, picture_name, read_frames, shuffled
from homework.inspection.draw import VIEW_COLUMNS, draw_scene, tiled

from . import augment, draws

if TYPE_CHECKING:
    from PIL.Image import Image

DONOR_FRAMES = 40  # frames to paste karts from
DRAWS = 50  # at most, until an augmentation changes the view


def augment_sheet(info_file: Path, view_index: int, seed: int = 0) -> Image:
    """A view after random augmentations: one row per augmentation, the last row with all of them.

    Pasted karts come from other frames of the same folder.

    Args:
        seed: seed of the augmentations.

    Raises:
        InputError: a file is wrong, or the view has no picture.
    """
    import numpy as np
    from PIL import Image

    split = list_split(info_file.parent)
    name = picture_name(info_file.name, view_index)
    order = [info_file.name, *shuffled(set(split.info_files) - {info_file.name})[:DONOR_FRAMES]]
    views = [
        augment.View(np.asarray(open_picture(split.folder / picture)), scene, picture)
        for frame in read_frames(split, order, Skipped())
        for picture, scene in frame.views
        if scene.karts or picture == name
    ]
    shown = next((view for view in views if view.source == name), None)
    if shown is None:
        raise InputError(f"{info_file}: its view {view_index} has no picture beside it")
    donors = [view for view in views if view.scene.karts and view is not shown]
    generator = random.Random(seed)
    tiles = []
    for which in (*([name] for name in draws.CHANCES), draws.CHANCES):
        row = [_augmented(shown, donors, generator, which) for _ in range(VIEW_COLUMNS)]
        tiles += [draw_scene(Image.fromarray(view.picture), view.scene) for view in row]
    return tiled(tiles)


def _augmented(
    view: augment.View, donors: list[augment.View], rng: random.Random, which: Collection[str]
) -> augment.View:
    """The view after augmentation: the first of DRAWS draws that changes it, if any."""
    draws = (augment.augmented(view, donors, rng, which) for _ in range(DRAWS))
    return next((augmented for augmented in draws if augmented is not view), view)
