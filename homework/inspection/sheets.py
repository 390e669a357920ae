"""The pictures of a split in few files: sheets of 50 pictures, for a page that shows any of them.

A page that opens from disk cannot load 18,900 pictures in the time that a reader waits. Of sheets
it loads only those that hold the pictures it shows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..common.errors import InputError
from ..common.workers import ordered_map
from ..frames.pictures import open_picture
from ..labels.scene import PICTURE_SIZE
from .repeats import THUMBNAIL_SIZE

if TYPE_CHECKING:
    import numpy as np

COLUMNS, ROWS = 10, 5
PER_SHEET = COLUMNS * ROWS
QUALITY = 60  # of WebP: 1.9 kB per picture, where the dataset's JPEG has 8 kB
EFFORT = 2  # of WebP, 0 to 6: 4 takes twice as long for 5% less


class Sheet(NamedTuple):
    """Up to PER_SHEET pictures, row by row, each of PICTURE_SIZE."""

    webp: bytes
    thumbnails: np.ndarray  # uint8 (pictures, height, width): grey, of THUMBNAIL_SIZE
    unreadable: list[str]  # "picture: reason"; black on the sheet


def make_sheets(pictures: Sequence[Path], num_workers: int) -> Iterator[Sheet]:
    """The sheets of `pictures`, in order, with a progress bar."""
    from tqdm import tqdm

    runs = [pictures[at : at + PER_SHEET] for at in range(0, len(pictures), PER_SHEET)]
    with (
        ordered_map(_sheet, runs, num_workers) as sheets,
        tqdm(total=len(pictures), unit=" pictures", unit_scale=True, smoothing=0.05) as progress,
    ):
        for run, sheet in zip(runs, sheets, strict=True):
            yield sheet
            progress.update(len(run))


def _sheet(pictures: Sequence[Path]) -> Sheet:
    import numpy as np
    from PIL import Image

    width, height = PICTURE_SIZE
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (width * COLUMNS, height * rows))
    thumbnails = np.zeros((len(pictures), *reversed(THUMBNAIL_SIZE)), np.uint8)
    unreadable = []
    for index, path in enumerate(pictures):
        try:
            picture = open_picture(path).resize(PICTURE_SIZE)
        except InputError as error:
            unreadable.append(str(error))
            continue
        sheet.paste(picture, (index % COLUMNS * width, index // COLUMNS * height))
        small = picture.convert("L").resize(THUMBNAIL_SIZE, Image.Resampling.BOX)
        thumbnails[index] = np.asarray(small)
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return Sheet(buffer.getvalue(), thumbnails, unreadable)
