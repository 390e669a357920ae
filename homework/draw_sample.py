"""python -m homework.draw_sample [--output data/sample] [--frames 42] [--seed 0]

Draws a small set of frames, so that everything runs before any dataset is downloaded.

They are drawings of ours, not recordings of the game, in the dataset's own layout: per frame
one `NNNNN_info.json` and ten pictures `NNNNN_VV_im.jpg`. Each of them says so in its JPEG
comment. As in the dataset, a track is raced by one line-up of 10 of the 18 karts, and the
validation frames (in `<output>_valid`) show other line-ups on the same tracks.
"""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import cli, drawing
from .files import DATA_DIR, InputError, atomic_write
from .names import KARTS, TRACKS
from .scene import FRAME_SIZE, KART_CLASS, MIN_BOX_SIDE, PICTURE_SIZE

if TYPE_CHECKING:
    from PIL import Image

LINE_UP = 10  # karts in a race, and views of a frame
COMMENT = b"A drawing by homework.draw_sample, not a recording. CC0."
JPEG_QUALITY = 80

# How many karts of a view are large enough to count, as measured on the course's train split.
COUNT_WEIGHTS = {0: 0.01, 1: 0.61, 2: 0.26, 3: 0.08, 4: 0.03, 5: 0.01, 6: 0.004, 9: 0.003}
ROAD, BACKGROUND, PICKUP, NITRO, BOMB = 2, 3, 4, 5, 6  # class ids beside KART_CLASS
_SCALE = FRAME_SIZE[0] // PICTURE_SIZE[0]  # frame pixels per picture pixel
_SMALLEST = (MIN_BOX_SIDE + 2) * _SCALE  # frame pixels; surely counted, even after truncation
_LARGEST = 46 * _SCALE  # width of a kart at the lower edge of the frame

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in frame pixels


class Thing(NamedTuple):
    """One thing on the road: a row of `detections`."""

    class_id: int
    track_id: int
    box: Box


def draw_sample(
    output: str | None = None, frames: int = 42, valid_frames: int = 10, seed: int = 0
) -> None:
    """Draw `frames` training frames into OUTPUT and `valid_frames` into OUTPUT_valid.

    OUTPUT is `data/sample` beside the package unless given.
    """
    from tqdm import tqdm

    for name, number in (("frames", frames), ("valid_frames", valid_frames)):
        if not isinstance(number, int) or number < 0:
            raise InputError(f"--{name}: {number!r} is not a whole number of frames; give e.g. 10")
    train_folder = Path(str(output or DATA_DIR / "sample"))
    valid_folder = train_folder.with_name(train_folder.name + "_valid")
    jobs = [(train_folder, index, False) for index in range(frames)]
    jobs += [(valid_folder, index, True) for index in range(valid_frames)]
    for folder, number in ((train_folder, frames), (valid_folder, valid_frames)):
        _check_free(folder, number)
    for folder, index, valid in tqdm(jobs, unit="frame"):
        # Every second track, so that a few validation frames span the list.
        track = TRACKS[(index * (2 if valid else 1)) % len(TRACKS)]
        rng = random.Random(f"{seed}/{valid}/{index}")
        info, pictures = draw_frame(track, line_up(track, valid, seed), rng)
        write_frame(folder, index, info, pictures)
    print(
        f"{frames} frames in {train_folder}, {valid_frames} in {valid_folder}: "
        f"{LINE_UP * len(jobs)} pictures, drawn (seed {seed}), not recorded"
    )


def line_up(track: str, valid: bool, seed: int = 0) -> list[str]:
    """The 10 karts that race on a track; validation has the 8 others and 2 of the same."""
    order = random.Random(f"{seed}/{track}").sample(KARTS, len(KARTS))
    return order[-LINE_UP:] if valid else order[:LINE_UP]


def draw_frame(
    track: str, karts: list[str], rng: random.Random
) -> tuple[dict[str, Any], list[Image.Image]]:
    """A parsed info file, fields in the dataset's order, and its ten pictures (150x100)."""
    detections, pictures = [], []
    for view in range(LINE_UP):
        horizon = _SCALE * rng.randint(42, 54)
        things = _place_things(view, horizon, rng)
        pictures.append(drawing.picture(track, karts, horizon, things, rng))
        width, height = FRAME_SIZE[0] - 1, FRAME_SIZE[1] - 1
        rows = [
            *things,
            Thing(ROAD, 0, (0, horizon, width, height)),
            Thing(BACKGROUND, 0, (0, 0, width, horizon)),
        ]
        detections.append([[row.class_id, row.track_id, *row.box] for row in sorted(rows)])
    start = rng.uniform(20, 800)
    info = {
        "track": track,
        "karts": karts,
        "detections": detections,
        "distance_down_track": [round(start - rng.uniform(0, 60), 3) for _ in karts],
        "velocity": [[round(rng.gauss(0, spread), 3) for spread in (12, 0.2, 12)] for _ in karts],
    }
    return info, pictures


def write_frame(
    folder: Path, index: int, info: dict[str, Any], pictures: list[Image.Image]
) -> None:
    """Write the pictures, then the info file that vouches for them."""
    for view, picture in enumerate(pictures):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, comment=COMMENT)
        with atomic_write(folder / f"{index:05x}_{view:02d}_im.jpg") as file:
            file.write(buffer.getvalue())
    with atomic_write(folder / f"{index:05x}_info.json") as file:
        file.write(json.dumps(info).encode())


# --- where things are ---


def _place_things(view: int, horizon: int, rng: random.Random) -> list[Thing]:
    """The karts of a view, its own first, and what lies on the road."""
    number = rng.choices(list(COUNT_WEIGHTS), list(COUNT_WEIGHTS.values()))[0]
    others = rng.sample([index for index in range(LINE_UP) if index != view], LINE_UP - 1)
    counted = [view, *others][:number]
    boxes: list[Box] = []
    things = []
    for index in counted:
        box = _free_box(index == view, horizon, boxes, rng)
        if box:
            boxes.append(box)
            things.append(Thing(KART_CLASS, index, box))
    # Karts far away have a box in the dataset too; the labelling rule must leave them out.
    for index in others[max(number - 1, 0) :][: rng.choice((0, 0, 1, 2, 3))]:
        side = rng.randint(3, (MIN_BOX_SIDE - 1) * _SCALE - 2)
        x = rng.randint(180, 420)
        things.append(Thing(KART_CLASS, index, (x, horizon - side // 2, x + side, horizon + side)))
    for class_id, share in ((PICKUP, 0.38), (NITRO, 0.25), (BOMB, 0.1)):
        if rng.random() < share:
            side = rng.randint(12, 44)
            x, y = rng.randint(20, 540), horizon + side + rng.randint(0, 40)
            things.append(Thing(class_id, rng.randint(0, 40), (x, y - side, x + side, y)))
    return things


def _free_box(own: bool, horizon: int, taken: list[Box], rng: random.Random) -> Box | None:
    """A box for a counted kart, clear of most of the others; None where no room was found."""
    for _ in range(60):
        # nearness: 0 at the horizon, 1 at the lower edge of the frame
        nearness = rng.triangular(0.22, 1, 0.35) if own else rng.triangular(0.15, 1.05, 0.4)
        width = max(_SMALLEST, int(_LARGEST * nearness * rng.uniform(0.85, 1.1)))
        height = max(_SMALLEST, int(width * rng.uniform(0.85, 1.1)))
        bottom = horizon + int((FRAME_SIZE[1] - horizon) * nearness)
        # Its own kart is not always the one nearest the centre, and so not always the ego.
        spread = rng.choices((12, 110), (0.8, 0.2))[0]
        x = int(rng.gauss(300, spread)) if own else rng.randint(20, 580)
        box = _in_frame((x - width // 2, bottom - height, x + width // 2, bottom))
        if box[2] - box[0] < max(_SMALLEST, 0.6 * width) or box[3] - box[1] < _SMALLEST:
            continue
        if all(_overlap(box, other) < 0.15 for other in taken):
            return box
    return None


def _in_frame(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return max(x1, 0), max(y1, 0), min(x2, FRAME_SIZE[0] - 1), min(y2, FRAME_SIZE[1] - 1)


def _overlap(one: Box, other: Box) -> float:
    """Shared area as a share of the smaller box."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)


def _check_free(folder: Path, frames: int) -> None:
    """Never draw over recordings, nor leave frames of an earlier, larger sample behind."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give --output the name of a folder")
    ours = {f"{index:05x}" for index in range(frames)}
    for path in sorted(folder.glob("*_*")):
        if path.name.endswith("_im.jpg") and COMMENT not in path.read_bytes():
            raise InputError(f"{path}: a recording, not one of ours; choose another --output")
        if path.name.endswith(("_im.jpg", "_info.json")) and path.name[:5] not in ours:
            raise InputError(f"{path}: would stay behind; delete {folder} or choose --output")


if __name__ == "__main__":
    cli.run(draw_sample)
