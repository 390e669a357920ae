"""Sheets of pictures: each picture in its place, whatever the number of processes."""

import io

import numpy as np
import pytest
from helpers import make_split
from PIL import Image

from homework.frames.split import list_split
from homework.inspection.sheets import COLUMNS, PER_SHEET, make_sheets


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)
    return [folder / name for name in list_split(folder).pictures]


def test_each_picture_is_on_its_sheet_at_its_place(pictures):
    sheets = list(make_sheets(pictures, 1))
    assert len(pictures) == 60 and len(sheets) == 2
    sizes = [Image.open(io.BytesIO(sheet.webp)).size for sheet in sheets]
    assert sizes == [(1500, 500), (1500, 100)]
    for index in (0, 13, 49, 50, 59):
        drawn = Image.open(io.BytesIO(sheets[index // PER_SHEET].webp)).convert("RGB")
        row, column = divmod(index % PER_SHEET, COLUMNS)
        box = (column * 150, row * 100, column * 150 + 150, row * 100 + 100)
        there = np.asarray(drawn.crop(box), int)
        assert np.abs(there - np.asarray(Image.open(pictures[index]), int)).mean() < 6
        grey = np.asarray(Image.open(pictures[index]).convert("L"), int).mean()
        thumbnail = sheets[index // PER_SHEET].thumbnails[index % PER_SHEET]
        assert thumbnail.shape == (10, 15) and abs(thumbnail.mean() - grey) < 1


def test_processes_make_no_difference(pictures):
    one, two = ([sheet.webp for sheet in make_sheets(pictures, n)] for n in (1, 2))
    assert one == two


def test_an_unreadable_picture_is_black_and_named(pictures, tmp_path):
    damaged = tmp_path / "00000_00_im.jpg"
    damaged.write_bytes(pictures[0].read_bytes()[:200])
    (sheet,) = make_sheets([damaged, pictures[1]], 1)
    assert len(sheet.unreadable) == 1 and str(damaged) in sheet.unreadable[0]
    drawn = np.asarray(Image.open(io.BytesIO(sheet.webp)).convert("RGB"), int)
    assert drawn[:, :148].max() < 30


def test_a_larger_picture_is_made_to_fit(pictures, tmp_path):
    large = tmp_path / "00000_00_im.jpg"
    Image.open(pictures[3]).resize((600, 400)).save(large)
    (sheet,) = make_sheets([large], 1)
    assert Image.open(io.BytesIO(sheet.webp)).size == (1500, 100)
