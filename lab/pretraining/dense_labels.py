"""What pre-training teaches the vision tower of each place in an image. Pure; `heads` learns it.

Dense labels: each patch has the kart that covers it and that kart's place relative to the ego; the
whole image has its track and its counts. Question answering then has little left to learn.
Fine labels: a heat map of the karts' centres, with their names and sizes. On a grid that is finer
than the image tokens' even karts of five pixels have cells of their own (Zhou et al., Objects as
Points, 2019).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homework.labels.questions import DEPTHS, KARTS, SIDES, TRACKS
from homework.labels.scene import IMAGE_SIZE, Kart, Scene, is_front, is_left

_KART = {name: index for index, name in enumerate(KARTS)}
MAX_COUNT = 10  # karts of a race
SPREAD = 6.0  # sides of a box in standard deviations of its kart's peak in the heat map
LEAST_SPREAD = 0.5  # cells

# Patch heads whose classes are answers: 0 is none of them, k the k-th of these words.
WORD_HEADS = {
    "kart": KARTS,
    "side": SIDES,  # of the patch's kart, if it is not the ego; so are the next two
    "depth": DEPTHS,
}
PATCH_HEADS = {name: len(words) + 1 for name, words in WORD_HEADS.items()} | {
    "ego": 2,
    "center": 2,  # whether the centre of a kart's box lies here, so that karts can be counted
}
IMAGE_HEADS = {"track": len(TRACKS)} | dict.fromkeys(
    ("count", "left", "right", "front", "behind"), MAX_COUNT + 1
)


def labels(scene: Scene, patches: int) -> dict[str, np.ndarray | np.int64]:
    """Classes of every head for one scene.

    Args:
        patches: patches per side of the squared image.

    Returns:
        head -> int64 (patches, patches), rows first, for PATCH_HEADS; int64 () for IMAGE_HEADS.
        Where boxes overlap, the kart that reaches lowest in the image, the nearest, counts;
        but the patch of a kart's centre is that kart's, and of two such karts' the smaller's.
    """
    grid = {head: np.zeros((patches, patches), np.int64) for head in PATCH_HEADS}
    counts = dict.fromkeys(IMAGE_HEADS, 0) | {"count": len(scene.karts)}
    classes = {}
    ego: Any = scene.ego  # there is one where there are karts
    for kart in scene.karts:
        side, depth = 2 - is_left(kart, ego), 2 - is_front(kart, ego)
        if kart is ego:
            side = depth = 0
        else:
            counts[("left", "right")[side - 1]] += 1
            counts[("front", "behind")[depth - 1]] += 1
        ids = {"kart": _KART[kart.name] + 1, "ego": kart is ego, "side": side, "depth": depth}
        classes[kart.name] = ids
    painted: list[tuple[Kart, Any]] = []
    for kart in sorted(scene.karts, key=lambda kart: kart.box[3]):
        x1, y1, x2, y2 = kart.box
        rows = _patches(y1, y2, IMAGE_SIZE[1], patches)
        painted.append((kart, (rows, _patches(x1, x2, IMAGE_SIZE[0], patches))))
    for kart in sorted(scene.karts, key=lambda kart: min(_size(kart)), reverse=True):
        x, y = kart.center
        row = min(int(y / IMAGE_SIZE[1] * patches), patches - 1)
        column = min(int(x / IMAGE_SIZE[0] * patches), patches - 1)
        grid["center"][row, column] = 1
        painted.append((kart, (row, column)))
    for kart, places in painted:
        for head, value in classes[kart.name].items():
            grid[head][places] = value
    image = {head: np.int64(min(count, MAX_COUNT)) for head, count in counts.items()}
    return grid | image | {"track": np.int64(TRACKS.index(scene.track))}


def _size(kart: Kart) -> tuple[int, int]:
    x1, y1, x2, y2 = kart.box
    return x2 - x1, y2 - y1


def _patches(start: int, stop: int, length: int, patches: int) -> slice:
    """The patches of which at least half a side lies in [start, stop), and one at the least."""
    first = min(round(start / length * patches), patches - 1)
    return slice(first, max(round(stop / length * patches), first + 1))


class Centers(NamedTuple):
    """The fine labels of B images with N karts, as arrays or tensors.

    Attributes:
        heat: float32 (B, side, side), rows first: 1 at a centre, falling off around it.
        cells: int64 (N,), the centres' places in the flattened heat.
        names: int64 (N,), indices into KARTS.
        boxes: float32 (N, 4): the centre within its cell (x, y, from 0 to 1), and the logarithms
            of width and height in cells.
    """

    heat: Any
    cells: Any
    names: Any
    boxes: Any


def centers(scenes: list[Scene], side: int) -> Centers:
    """The fine labels of some scenes, on `side` cells a side of the squared image."""
    heat = np.zeros((len(scenes), side, side), np.float32)
    cells, names, boxes = [], [], []
    steps = np.arange(side, dtype=np.float32)
    scale = side / IMAGE_SIZE[0], side / IMAGE_SIZE[1]
    for index, scene in enumerate(scenes):
        for kart in scene.karts:
            x, y = (min(c * s, side - 1e-3) for c, s in zip(kart.center, scale, strict=True))
            column, row = max(int(x), 0), max(int(y), 0)
            width, height = (size * s for size, s in zip(_size(kart), scale, strict=True))
            across = np.exp(-(((steps - column) / max(width / SPREAD, LEAST_SPREAD)) ** 2) / 2)
            down = np.exp(-(((steps - row) / max(height / SPREAD, LEAST_SPREAD)) ** 2) / 2)
            np.maximum(heat[index], down[:, None] * across, out=heat[index])
            cells.append((index * side + row) * side + column)
            names.append(_KART[kart.name])
            boxes.append((x - column, y - row, np.log(width), np.log(height)))
    wide = np.array(boxes, np.float32).reshape(-1, 4)
    return Centers(heat, np.array(cells, np.int64), np.array(names, np.int64), wide)
