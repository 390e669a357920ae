"""The sheet of `python -m lab.pretrain look`: one view after each augmentation of pre-training."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from PIL import Image

from homework.common.errors import InputError
from homework.frames.split import image_name, list_split, shuffled
from homework.inspection.figures import draw_scene

from .augment import Images, orders
from .batches import load_views
from .draws import CHANCES, Changes, draw

DONOR_FRAMES = 40  # frames to paste karts from
VIEW_COLUMNS = 5  # views after the same augmentation
DRAWS = 50  # at most, until an augmentation changes the view


def augment_sheet(info_file: Path, view_index: int, seed: int = 0) -> Image.Image:
    """A view after random augmentations: one row per augmentation, the last row with all of them.

    Pasted karts come from other frames of the same folder.

    Raises:
        InputError: a file is wrong, or the view has no image.
    """
    split = list_split(info_file.parent)
    name = image_name(info_file.name, view_index)
    order = [info_file.name, *shuffled(set(split.info_files) - {info_file.name})[:DONOR_FRAMES]]
    views = load_views(split.folder, order)
    shown = next((number for number, view in enumerate(views) if view.source == name), None)
    if shown is None:
        raise InputError(f"{info_file}: its view {view_index} has no image beside it")
    scene = views[shown].scene
    donors = [n for n, view in enumerate(views) if view.scene.karts and n != shown]
    scenes, rng = [views[number].scene for number in donors], random.Random(seed)
    made = []
    for which in (*([name] for name in CHANCES), CHANCES):
        for _ in range(VIEW_COLUMNS):
            drawn = (draw(scene, scenes, rng, which) for _ in range(DRAWS))
            made.append(next((each for each in drawn if each != Changes(scene)), Changes(scene)))
    asked = orders(views, [shown] * len(made), made, donors)
    pixels = Images(views, 1, "cpu").changed(asked).byte().permute(0, 2, 3, 1).numpy()
    pairs = zip(pixels, made, strict=True)
    drawn = [draw_scene(Image.fromarray(each), changes.scene) for each, changes in pairs]
    tiles = [np.asarray(each.reduce(2)) for each in drawn]
    rows = [np.hstack(tiles[at : at + VIEW_COLUMNS]) for at in range(0, len(tiles), VIEW_COLUMNS)]
    return Image.fromarray(np.vstack(rows))
