"""Augmented pictures keep their size, and their labels keep the rule."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import views

from homework.labels.scene import MIN_BOX_SIDE, PICTURE_SIZE, Kart, make_scene
from lab.pretraining import augment


@settings(max_examples=60, deadline=None)
@given(views(), st.integers(0, 100))
def test_every_augmentation_gives_a_picture_with_a_lawful_scene(view, seed):
    rng = random.Random(seed)
    for changed in (augment.mirror(view), augment.crop(view, rng), augment.jitter(view, rng)):
        assert changed.picture.shape == view.picture.shape
        assert changed.picture.dtype == np.uint8
        assert {kart.name for kart in changed.scene.karts} <= {k.name for k in view.scene.karts}
        for x1, y1, x2, y2 in (kart.box for kart in changed.scene.karts):
            assert 0 <= x1 <= x2 - MIN_BOX_SIDE and x2 <= PICTURE_SIZE[0]
            assert 0 <= y1 <= y2 - MIN_BOX_SIDE and y2 <= PICTURE_SIZE[1]
        assert (changed.scene.ego is None) == (not changed.scene.karts)


@settings(max_examples=30, deadline=None)
@given(views())
def test_mirroring_twice_is_the_view_itself(view):
    twice = augment.mirror(augment.mirror(view))
    assert (twice.picture == view.picture).all()
    assert twice.scene.karts == view.scene.karts


def test_crop_moves_boxes_with_the_picture():
    """A white kart on black stays under its box, wherever the window falls."""
    picture = np.zeros((100, 150, 3), np.uint8)
    picture[40:70, 60:100] = 255
    view = augment.View(picture, make_scene("abyss", (Kart("tux", (60, 40, 100, 70)),)))
    for seed in range(20):
        changed = augment.crop(view, random.Random(seed), smallest=0.6)
        (kart,) = changed.scene.karts
        rows, columns = np.nonzero(changed.picture[..., 0] > 127)
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(seen) - np.array(kart.box)).max() <= 1


@pytest.mark.parametrize("background", [100, 50])
def test_paste_shows_the_kart_at_its_box_and_nowhere_else(background):
    """White on grey; where it is darker, so is the kart, and of what was around it none comes."""
    kart = Kart("tux", (10, 10, 40, 40))
    there = np.full((100, 150, 3), 100, np.uint8)
    there[10:40, 16:34] = 240
    donor = augment.View(there, make_scene("volcano_island", (kart,)))
    here = np.full((100, 150, 3), background, np.uint8)
    view = augment.View(here, make_scene("abyss", ()))
    pasted = augment.paste(view, donor, kart, (70, 50, 100, 80))
    assert pasted.scene.track == "abyss"
    assert pasted.scene.karts == (Kart("tux", (70, 50, 100, 80)),)
    inside = pasted.picture[50:80, 70:100]
    expected = 240 if background == 100 else 240 / augment.MAX_RELIGHTING
    assert abs(inside[15, 15].astype(int) - expected).max() <= 1
    assert (inside[:, :2] == background).all() and (inside[:, -2:] == background).all()
    outside = pasted.picture.copy()
    outside[50:80, 70:100] = background
    assert (outside == background).all()


@settings(max_examples=60, deadline=None)
@given(views(), st.lists(views().filter(lambda view: view.scene.karts), max_size=3), st.data())
def test_augmented_views_are_lawful_whatever_is_drawn(view, donors, data):
    which = data.draw(st.sets(st.sampled_from(list(augment.CHANCES))))
    seed = data.draw(st.integers(0, 100))
    changed = augment.augmented(view, donors, random.Random(seed), which)
    assert changed.picture.shape == view.picture.shape
    assert changed.picture.dtype == np.uint8
    assert changed.scene.track == view.scene.track
    names = [kart.name for kart in changed.scene.karts]
    assert len(names) == len(set(names)) <= len(view.scene.karts) + ("paste" in which)
    for x1, y1, x2, y2 in (kart.box for kart in changed.scene.karts):
        assert 0 <= x1 <= x2 - MIN_BOX_SIDE and x2 <= PICTURE_SIZE[0]
        assert 0 <= y1 <= y2 - MIN_BOX_SIDE and y2 <= PICTURE_SIZE[1]
    if not which:
        assert changed is view
    again = augment.augmented(view, donors, random.Random(seed), which)
    assert (again.picture == changed.picture).all() and again.scene == changed.scene


@pytest.mark.parametrize("name", ["tux", "gnu"])
def test_paste_leaves_a_view_alone_where_it_would_lie(name):
    """The same kart twice, or one kart hidden behind another, would make the labels wrong."""
    there = Kart("tux", (70, 50, 100, 80))
    view = augment.View(np.zeros((100, 150, 3), np.uint8), make_scene("abyss", (there,)))
    new = Kart(name, (10, 10, 40, 40))
    donor = augment.View(view.picture, make_scene("abyss", (new,)))
    box = (71, 51, 99, 79) if name == "gnu" else (0, 0, 20, 20)
    assert augment.paste(view, donor, new, box) is view
