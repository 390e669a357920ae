"""Check the boxes of a recording against the poses of the karts.

The engine makes a box from the mask that it draws. Here the cuboid of the same kart (place,
rotation and size in metres) is projected with the matrices of the camera. The box must lie in the
projection, except for parts that stick out of the cuboid (exhaust, parachute), and no other kart
may fit it better.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from homework.common.errors import InputError
from homework.common.files import read_json
from homework.frames.split import INFO_SUFFIX, read_info
from homework.labels.scene import FRAME_SIZE, KART_CLASS

from .plan import CAMERAS_SUFFIX

NEAR = 0.05  # metres from the camera; a nearer cuboid has no finite projection


class Comparison(NamedTuple):
    """One labelled kart in one view."""

    frame: str
    view: int
    kart: str
    sticks_out: float  # of the projection, as a share of its longer side; 0 or less: inside
    center_inside: bool
    nearest: str  # the kart whose projection overlaps the box best


def project(
    cuboid: np.ndarray, view: np.ndarray, projection: np.ndarray
) -> tuple[float, float, float, float] | None:
    """The box around a cuboid as a camera sees it, in pixels; None if it lies behind in part.

    Args:
        cuboid: world coordinates of the corners in metres, (8, 3).
        view, projection: 4x4 matrices that multiply row vectors, as the engine keeps them.
    """
    clip = np.c_[cuboid, np.ones(len(cuboid))] @ view @ projection
    depth = clip[:, 3]
    if (depth < NEAR).any():
        return None
    x = (clip[:, 0] / depth / 2 + 0.5) * FRAME_SIZE[0]
    y = (0.5 - clip[:, 1] / depth / 2) * FRAME_SIZE[1]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def cuboid(location, rotation, size) -> np.ndarray:
    """The corners of a kart in metres, (8, 3).

    Args:
        location: centre of its underside, (3,).
        rotation: a unit quaternion x, y, z, w.
        size: width, height, length.
    """
    x, y, z, w = rotation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    unit = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (0, 1) for k in (-0.5, 0.5)])
    return np.asarray(location) + (unit * size) @ turn.T


def compare(
    frame: str, info: Mapping[str, Any], cameras: Mapping[str, Any]
) -> Iterator[Comparison]:
    """Compare every labelled kart of a frame with its projection."""
    poses = zip(cameras["location"], cameras["rotation"], cameras["size"], strict=True)
    cuboids = [cuboid(*pose) for pose in poses]
    matrices = zip(cameras["view"], cameras["projection"], strict=True)
    for index, (view, projection) in enumerate(matrices):
        seen = [project(corners, np.array(view), np.array(projection)) for corners in cuboids]
        for row in info["detections"][index]:
            kind, kart, *box = row
            if kind == KART_CLASS and seen[kart] is not None:
                overlaps = [_overlap(box, other) if other else 0.0 for other in seen]
                nearest = kart if overlaps[kart] == max(overlaps) else int(np.argmax(overlaps))
                yield _comparison(frame, index, info["karts"], kart, box, seen[kart], nearest)


def _comparison(frame, view, names, kart, box, cuboid_box, nearest) -> Comparison:
    x1, y1, x2, y2 = cuboid_box
    right, bottom = min(FRAME_SIZE[0] - 1, x2), min(FRAME_SIZE[1] - 1, y2)
    beyond = max(max(0, x1) - box[0], max(0, y1) - box[1], box[2] - right, box[3] - bottom)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    inside = x1 - 2 <= x <= x2 + 2 and y1 - 2 <= y <= y2 + 2
    share = beyond / max(x2 - x1, y2 - y1, 1.0)
    return Comparison(frame, view, names[kart], share, inside, names[nearest])


def _overlap(a, b) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b))
    return width * height / (areas - width * height)


def verify_folder(folder: Path) -> None:
    """Print how well the boxes of a recording match the projections.

    Raises:
        InputError: the folder has no cameras or no kart in any view, or a file is damaged.
    """
    files = sorted(folder.glob(f"*{CAMERAS_SUFFIX}"))
    if not files:
        raise InputError(f"{folder}: no *{CAMERAS_SUFFIX}; record with --cameras True")
    found: list[Comparison] = []
    views = 0
    for file in files:
        frame = file.name.removesuffix(CAMERAS_SUFFIX)
        info = read_info(folder / f"{frame}{INFO_SUFFIX}")
        views += len(info["detections"])
        try:
            found += compare(frame, info, read_json(file))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{file}: not what record writes ({error!r})") from None
    if not found:
        raise InputError(f"{folder}: no kart in any view")
    out = np.array([item.sticks_out for item in found])
    center = sum(item.center_inside for item in found)
    right = sum(item.nearest == item.kart for item in found)
    print(f"{folder}: {len(found):,} labelled karts in {views:,} views")
    print(f"middle of the box inside the kart's projection   {center / len(found):7.2%}")
    print(f"no other kart's projection overlaps it better    {right / len(found):7.2%}")
    for share in (0.1, 0.25, 0.5):
        print(f"sticks out by at most {share:4.0%} of its size {(out <= share).mean():16.2%}")
    worst = max(found, key=lambda item: item.sticks_out)
    print(f"furthest: {json.dumps(worst._asdict())}")
