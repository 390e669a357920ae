"""The images of a split in sheets of 50, and which of its views repeat another one.

A page that opens from disk cannot load 18,900 images in the time that a reader waits. Of sheets
it loads only those that hold the images it shows. In the dataset's train split a race that has
ended is recorded again and again: more than half of the views repeat a moment of another view.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..common.errors import InputError
from ..common.workers import ordered_map
from ..frames.images import open_image
from ..labels.scene import IMAGE_SIZE, Scene

COLUMNS, ROWS = 10, 5
PER_SHEET = COLUMNS * ROWS
QUALITY = 60  # of WebP: 1.9 kB per image, where the dataset's JPEG has 8 kB
EFFORT = 2  # of WebP, 0 to 6: 4 takes twice as long for 5% less
THUMBNAIL_SIZE = (15, 10)  # width, height of the grey images that are compared
# Boxes of a frozen moment move by a pixel or two: the camera sways. Its images differ by less
# than 2 grey levels in most cases. The differences of other views with such boxes begin at 5: the
# kart drives on, in the middle of the image as before, and the road around it is another one.
BOX_TOLERANCE = 2  # image pixels
IMAGE_TOLERANCE = 3  # mean difference of the thumbnails, in grey levels of 255
RULE = (
    "Two views show the same scene if track and karts are the same, no side of a box differs by "
    f"more than {BOX_TOLERANCE} pixels, and the images, reduced to {THUMBNAIL_SIZE[0]}x"
    f"{THUMBNAIL_SIZE[1]} grey pixels, by no more than {IMAGE_TOLERANCE} of 255 on average."
)


class Sheet(NamedTuple):
    """Up to PER_SHEET images, row by row, each of IMAGE_SIZE."""

    webp: bytes
    thumbnails: np.ndarray  # uint8 (images, height, width): grey, of THUMBNAIL_SIZE
    unreadable: list[str]  # "image: reason"; black on the sheet


def make_sheets(images: Sequence[Path], num_workers: int) -> Iterator[Sheet]:
    """The sheets of `images`, in order, with a progress bar."""
    from tqdm import tqdm

    runs = [images[at : at + PER_SHEET] for at in range(0, len(images), PER_SHEET)]
    with (
        ordered_map(_sheet, runs, num_workers) as sheets,
        tqdm(total=len(images), unit=" images", unit_scale=True, smoothing=0.05) as progress,
    ):
        for run, sheet in zip(runs, sheets, strict=True):
            yield sheet
            progress.update(len(run))


def _sheet(images: Sequence[Path]) -> Sheet:
    from PIL import Image

    width, height = IMAGE_SIZE
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (width * COLUMNS, height * rows))
    thumbnails = np.zeros((len(images), *reversed(THUMBNAIL_SIZE)), np.uint8)
    unreadable = []
    for index, path in enumerate(images):
        try:
            image = open_image(path).resize(IMAGE_SIZE)
        except InputError as error:
            unreadable.append(str(error))
            continue
        sheet.paste(image, (index % COLUMNS * width, index // COLUMNS * height))
        small = image.convert("L").resize(THUMBNAIL_SIZE, Image.Resampling.BOX)
        thumbnails[index] = np.asarray(small)
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return Sheet(buffer.getvalue(), thumbnails, unreadable)


def first_views(views: Iterable[tuple[Scene, np.ndarray]]) -> list[int]:
    """For each view the index of the first view of the same scene; its own where it is the first.

    RULE says when two views show the same scene.

    Args:
        views: scene and thumbnail, uint8 (height, width), of each view in the order of the split.
    """
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
    if not scenes:
        return None
    differences = np.abs(np.stack([other for other, _ in scenes]) - row)
    alike = differences[:, sides:].mean(axis=1) <= IMAGE_TOLERANCE
    if sides:
        alike &= differences[:, :sides].max(axis=1) <= BOX_TOLERANCE
    return scenes[int(alike.argmax())][1] if alike.any() else None
