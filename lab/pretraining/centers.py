"""Fine labels for pre-training: a heat map of the karts' centres, their names and their sizes.

On a grid that is finer than the image tokens' even karts of five pixels have cells of their own
(Zhou et al., Objects as Points, 2019). Pure; the head that learns them is `heads.CenterHead`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homework.labels.questions import KARTS
from homework.labels.scene import PICTURE_SIZE, Scene

_CLASS = {name: index for index, name in enumerate(KARTS)}
SPREAD = 6.0  # sides of a box in standard deviations of its kart's peak
LEAST_SPREAD = 0.5  # cells


class Centers(NamedTuple):
    """N karts of some pictures, as arrays or tensors.

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
    """The fine labels of some scenes.

    Args:
        side: cells of a side of the squared picture.
    """
    heat = np.zeros((len(scenes), side, side), np.float32)
    cells, names, boxes = [], [], []
    steps = np.arange(side, dtype=np.float32)
    scale = side / PICTURE_SIZE[0], side / PICTURE_SIZE[1]
    for index, scene in enumerate(scenes):
        for kart in scene.karts:
            x, y = (min(c * s, side - 1e-3) for c, s in zip(kart.center, scale, strict=True))
            column, row = max(int(x), 0), max(int(y), 0)
            width = (kart.box[2] - kart.box[0]) * scale[0]
            height = (kart.box[3] - kart.box[1]) * scale[1]
            across = np.exp(-(((steps - column) / max(width / SPREAD, LEAST_SPREAD)) ** 2) / 2)
            down = np.exp(-(((steps - row) / max(height / SPREAD, LEAST_SPREAD)) ** 2) / 2)
            np.maximum(heat[index], down[:, None] * across, out=heat[index])
            cells.append((index * side + row) * side + column)
            names.append(_CLASS[kart.name])
            boxes.append((x - column, y - row, np.log(width), np.log(height)))
    return Centers(
        heat,
        np.array(cells, np.int64),
        np.array(names, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
    )
