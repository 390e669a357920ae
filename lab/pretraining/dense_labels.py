"""Dense supervision for pre-training: for every patch of a picture, what the boxes say of it.

Each patch has labels for the kart that covers it and its place relative to the ego; the whole
picture has labels for its track and its counts. Question answering then has little left to learn.
Pure; the heads that learn these labels are in `heads`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homework.labels.questions import DEPTHS, KARTS, SIDES, TRACKS
from homework.labels.scene import PICTURE_SIZE, Kart, Scene, is_front, is_left

_KART_ID = {name: index for index, name in enumerate(KARTS, start=1)}
_TRACK_ID = {name: index for index, name in enumerate(TRACKS)}
MAX_COUNT = 10  # karts of a race

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
PICTURE_HEADS = {"track": len(TRACKS)} | dict.fromkeys(
    ("count", "left", "right", "front", "behind"), MAX_COUNT + 1
)


def labels(scene: Scene, patches: int) -> dict[str, np.ndarray | np.int64]:
    """Classes of every head for one scene.

    Args:
        patches: patches per side of the squared picture.

    Returns:
        head -> int64 (patches, patches), rows first, for PATCH_HEADS; int64 () for PICTURE_HEADS.
        Where boxes overlap, the kart that reaches lowest in the picture, the nearest, counts;
        but the patch of a kart's centre is that kart's, and of two such karts' the smaller's.
    """
    grid = {head: np.zeros((patches, patches), np.int64) for head in PATCH_HEADS}
    others = dict.fromkeys(("left", "right", "front", "behind"), 0)
    painted = []
    for kart in sorted(scene.karts, key=lambda kart: kart.box[3]):
        x1, y1, x2, y2 = kart.box
        covered = (
            _patches(y1, y2, PICTURE_SIZE[1], patches),
            _patches(x1, x2, PICTURE_SIZE[0], patches),
        )
        painted.append((kart, covered))
    for kart in sorted(scene.karts, key=lambda kart: min(_sides(kart)), reverse=True):
        x, y = kart.center
        row = min(int(y / PICTURE_SIZE[1] * patches), patches - 1)
        column = min(int(x / PICTURE_SIZE[0] * patches), patches - 1)
        grid["center"][row, column] = 1
        painted.append((kart, (row, column)))
    ego: Any = scene.ego  # there is one where there are karts
    for kart, places in painted:
        is_ego = kart is ego
        grid["kart"][places] = _KART_ID[kart.name]
        grid["ego"][places] = is_ego
        grid["side"][places] = 0 if is_ego else 1 if is_left(kart, ego) else 2
        grid["depth"][places] = 0 if is_ego else 1 if is_front(kart, ego) else 2
    for kart in scene.karts:
        side = 1 if is_left(kart, ego) else 2
        depth = 1 if is_front(kart, ego) else 2
        if kart is not ego:
            others["left" if side == 1 else "right"] += 1
            others["front" if depth == 1 else "behind"] += 1
    counts = {"track": _TRACK_ID[scene.track], "count": len(scene.karts), **others}
    return grid | {head: np.int64(min(counts[head], counts_limit(head))) for head in PICTURE_HEADS}


def counts_limit(head: str) -> int:
    """The largest class of a picture head."""
    return PICTURE_HEADS[head] - 1


def _sides(kart: Kart) -> tuple[int, int]:
    x1, y1, x2, y2 = kart.box
    return x2 - x1, y2 - y1


def _patches(start: int, stop: int, length: int, patches: int) -> slice:
    """The patches of which at least half a side lies in [start, stop), and one at the least."""
    first = round(start / length * patches)
    last = max(round(stop / length * patches), first + 1)
    if first >= patches:
        first, last = patches - 1, patches
    return slice(first, last)
