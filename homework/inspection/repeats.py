"""Which views of a split repeat another one: the same karts, boxes and picture.

In the dataset's train split a race that has ended is recorded again and again, so that more than
half of the views repeat a moment that another view shows, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..labels.scene import Scene

if TYPE_CHECKING:
    import numpy as np

THUMBNAIL_SIZE = (15, 10)  # width, height of the grey pictures that are compared
# Boxes of a frozen moment move by a pixel or two: the camera sways. Its pictures differ by less
# than 2 grey levels in most cases. The differences of other views with such boxes begin at 5: the
# kart drives on, in the middle of the picture as before, and the road around it is another one.
BOX_TOLERANCE = 2  # picture pixels
PICTURE_TOLERANCE = 3  # mean difference of the thumbnails, in grey levels of 255
RULE = (
    "Two views show the same scene if track and karts are the same, no side of a box differs by "
    f"more than {BOX_TOLERANCE} pixels, and the pictures, reduced to {THUMBNAIL_SIZE[0]}x"
    f"{THUMBNAIL_SIZE[1]} grey pixels, by no more than {PICTURE_TOLERANCE} of 255 on average."
)


def first_views(views: Iterable[tuple[Scene, np.ndarray]]) -> list[int]:
    """For each view the index of the first view of the same scene; its own where it is the first.

    RULE says when two views show the same scene. Each view is compared with the first views of
    the scenes before it.

    Args:
        views: scene and thumbnail, uint8 (height, width), of each view in the order of the split.
    """
    import numpy as np

    known: defaultdict[tuple, list[tuple[np.ndarray, int]]] = defaultdict(list)
    found = []
    for index, (scene, thumbnail) in enumerate(views):
        karts = sorted(scene.karts)
        boxes = np.array([kart.box for kart in karts], np.int64).ravel()
        # One row per view, so that it is compared with all scenes of its line-up at once.
        row = np.concatenate([boxes, thumbnail.ravel()])
        scenes = known[scene.track, tuple(kart.name for kart in karts)]
        first = _first_alike(scenes, row, len(boxes))
        if first is None:
            scenes.append((row, index))
        found.append(index if first is None else first)
    return found


def _first_alike(scenes: list[tuple[np.ndarray, int]], row: np.ndarray, sides: int) -> int | None:
    import numpy as np

    if not scenes:
        return None
    differences = np.abs(np.stack([other for other, _ in scenes]) - row)
    alike = differences[:, sides:].mean(axis=1) <= PICTURE_TOLERANCE
    if sides:
        alike &= differences[:, :sides].max(axis=1) <= BOX_TOLERANCE
    return scenes[int(alike.argmax())][1] if alike.any() else None
