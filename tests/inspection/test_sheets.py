"""Sheets of images: each image in its place, whatever the number of processes."""

import io

import numpy as np
import pytest
from helpers import make_split
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homework.frames.split import list_split
from homework.inspection.sheets import (
    BOX_TOLERANCE,
    COLUMNS,
    IMAGE_TOLERANCE,
    PER_SHEET,
    first_views,
    make_sheets,
)
from homework.labels.scene import Kart, make_scene


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)
    return [folder / name for name in list_split(folder).images]


def test_each_image_is_on_its_sheet_at_its_place(images):
    sheets = list(make_sheets(images, 1))
    assert len(images) == 60 and len(sheets) == 2
    sizes = [Image.open(io.BytesIO(sheet.webp)).size for sheet in sheets]
    assert sizes == [(1500, 500), (1500, 100)]
    for index in (0, 13, 49, 50, 59):
        drawn = Image.open(io.BytesIO(sheets[index // PER_SHEET].webp)).convert("RGB")
        row, column = divmod(index % PER_SHEET, COLUMNS)
        box = (column * 150, row * 100, column * 150 + 150, row * 100 + 100)
        there = np.asarray(drawn.crop(box), int)
        assert np.abs(there - np.asarray(Image.open(images[index]), int)).mean() < 6
        grey = np.asarray(Image.open(images[index]).convert("L"), int).mean()
        thumbnail = sheets[index // PER_SHEET].thumbnails[index % PER_SHEET]
        assert thumbnail.shape == (10, 15) and abs(thumbnail.mean() - grey) < 1


def test_processes_make_no_difference(images):
    one, two = ([sheet.webp for sheet in make_sheets(images, n)] for n in (1, 2))
    assert one == two


def test_an_unreadable_image_is_black_and_named(images, tmp_path):
    damaged = tmp_path / "00000_00_im.jpg"
    damaged.write_bytes(images[0].read_bytes()[:200])
    (sheet,) = make_sheets([damaged, images[1]], 1)
    assert len(sheet.unreadable) == 1 and str(damaged) in sheet.unreadable[0]
    drawn = np.asarray(Image.open(io.BytesIO(sheet.webp)).convert("RGB"), int)
    assert drawn[:, :148].max() < 30


def test_a_larger_image_is_made_to_fit(images, tmp_path):
    large = tmp_path / "00000_00_im.jpg"
    Image.open(images[3]).resize((600, 400)).save(large)
    (sheet,) = make_sheets([large], 1)
    assert Image.open(io.BytesIO(sheet.webp)).size == (1500, 100)


BOX = (60, 40, 90, 70)


def view(*karts, track="abyss", grey=100):
    scene = make_scene(track, tuple(Kart(name, box) for name, box in karts))
    return scene, np.full((10, 15), grey, np.uint8)


def moved(by):
    return tuple(side + by for side in BOX)


def test_a_view_with_the_same_karts_places_and_image_repeats_the_first():
    gnu, tux = ("gnu", BOX), ("tux", (5, 5, 20, 20))
    views = [view(gnu, tux), view(gnu), view(tux, gnu), view(gnu, grey=102), view(gnu, tux)]
    assert first_views(views) == [0, 1, 0, 1, 0]


def test_another_track_kart_place_or_image_is_another_scene():
    alone = view(("gnu", BOX))
    others = [
        view(("gnu", BOX), track="hacienda"),
        view(("tux", BOX)),
        view(("gnu", moved(BOX_TOLERANCE + 1))),
        view(("gnu", BOX), grey=100 + int(IMAGE_TOLERANCE) + 1),
        view(),
    ]
    assert first_views([alone, *others]) == list(range(6))


def test_a_camera_that_sways_by_two_pixels_shows_the_same_scene():
    assert first_views([view(("gnu", BOX)), view(("gnu", moved(-BOX_TOLERANCE)), grey=97)]) == [
        0,
        0,
    ]


def test_views_without_karts_are_compared_by_image_and_track():
    assert first_views([view(), view(), view(grey=200), view(track="hacienda")]) == [0, 0, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(90, 100)), max_size=20))
def test_every_scene_has_its_first_view_and_a_repeat_is_near_it(drawn):
    firsts = first_views(view(("gnu", moved(by)), grey=grey) for by, grey in drawn)
    for index, first in enumerate(firsts):
        assert first <= index and firsts[first] == first
        assert abs(drawn[first][0] - drawn[index][0]) <= BOX_TOLERANCE
        assert abs(drawn[first][1] - drawn[index][1]) <= IMAGE_TOLERANCE
