"""Views of one scene: which view shows it first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from homework.inspection.explore import BOX_TOLERANCE, IMAGE_TOLERANCE, first_views
from homework.labels.scene import Kart, make_scene

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
