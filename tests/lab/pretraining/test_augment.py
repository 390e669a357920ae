"""Augmented images are those that Pillow makes one at a time, and their labels keep the rule."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from strategies import boxes, views

from homework.labels.scene import IMAGE_SIZE, MIN_BOX_SIDE, Kart, make_scene, mirrored
from lab.pretraining import augment, draws
from lab.pretraining.augment import Images, View, cubic, orders, resample, triangle, weights

SIDE = 36
ROUNDING = 3  # of 255: a level of each of three roundings


def changed(view, changes, donors=()):
    """The image of a view after its changes."""
    numbers = range(1, len(donors) + 1)
    asked = orders([view, *donors], [0], [changes], numbers)
    made = Images([view, *donors], SIDE, "cpu").changed(asked)
    return made[0].permute(1, 2, 0).byte().numpy()


def by_pillow(view, changes, donors):
    """The same by Pillow and numpy, each change by itself."""
    image = view.image
    if changes.paste:
        donor, kart, box = changes.paste
        shown, (x1, y1, x2, y2) = donors[donor].image, box
        size = (x2 - x1, y2 - y1)
        outline = Image.fromarray(augment._outline(shown, kart.box))
        opacity = np.asarray(outline.resize(size, Image.Resampling.BILINEAR))[..., None] / 255
        cut = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC, kart.box)
        cut = np.asarray(cut) * augment._relighting(image, box, shown, kart.box)
        image = image.copy()
        place = image[y1:y2, x1:x2]
        place[:] = (cut * opacity + place * (1 - opacity)).clip(0, 255).astype(np.uint8)
    if changes.window:
        cut = Image.fromarray(image)
        image = np.asarray(cut.resize(IMAGE_SIZE, Image.Resampling.BICUBIC, changes.window))
    if changes.mirror:
        image = image[:, ::-1]
    mean, light = float(image.mean()), changes.light
    values = (image - mean) * light.contrast + mean + light.shift
    return (values * np.array(light.gains)).clip(0, 255).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.lists(views(), min_size=1, max_size=4), st.integers(0, 10_000), st.data())
def test_a_device_changes_a_batch_as_pillow_changes_each_image(shown, seed, data):
    which = data.draw(st.sets(st.sampled_from(list(draws.CHANCES))))
    rng = random.Random(seed)
    numbers = rng.choices(range(len(shown)), k=6)
    donors = [number for number, view in enumerate(shown) if view.scene.karts]
    scenes = [shown[number].scene for number in donors]
    changes = [draws.draw(shown[number].scene, scenes, rng, which) for number in numbers]
    images = Images(shown, SIDE, "cpu")
    asked = orders(shown, numbers, changes, donors)
    made, squares = images.changed(asked), images.squares(asked)
    assert squares.dtype == torch.uint8 and squares.shape == (6, SIDE, SIDE, 3)
    donors = [shown[number] for number in donors]
    for one, square, change, number in zip(made, squares, changes, numbers, strict=True):
        expected = by_pillow(shown[number], change, donors)
        away = np.abs(one.permute(1, 2, 0).numpy() - expected)
        assert away.max() <= ROUNDING and away.mean() < 0.1
        expected = Image.fromarray(np.ascontiguousarray(expected)).resize(
            (SIDE, SIDE), Image.Resampling.BILINEAR
        )
        away = np.abs(square.numpy().astype(int) - np.asarray(expected))
        assert away.max() <= ROUNDING + 1 and away.mean() < 0.6


@settings(max_examples=30, deadline=None)
@given(views().filter(lambda view: view.scene.karts), st.integers(1, 4), boxes(), st.data())
def test_a_device_pastes_karts_as_pillow_does(donor, darker, box, data):
    """Of any size and place there and here; from an image that is lighter or darker."""
    kart = data.draw(st.sampled_from(donor.scene.karts))
    # Pillow 13 resizes first along the side where that is less work. Both orders agree where no
    # value between the two passes leaves 0 to 255.
    donor = donor._replace(image=donor.image // 2 + 64)
    here = View(donor.image[::-1] // darker, make_scene("abyss", ()))
    if data.draw(st.booleans()):
        here, donor = (view._replace(image=255 - view.image) for view in (here, donor))
    changes = draws.Changes(here.scene, draws.Paste(0, kart, box))
    made = Images([here, donor], SIDE, "cpu").changed(orders([here, donor], [0], [changes], [1]))
    away = np.abs(made[0].permute(1, 2, 0).numpy() - by_pillow(here, changes, [donor]))
    # What Pillow rounds between its passes is relit with the kart.
    most = ROUNDING * augment.MAX_RELIGHTING
    assert away.max() <= most and away.mean() < 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(5, 150), st.integers(5, 60), st.sampled_from("cb"))
def test_weights_resize_as_pillow(seed, start, to, kernel):
    """Smaller and larger, from anywhere in an image."""
    noise = np.random.default_rng(seed).integers(0, 256, (100, 150, 3), np.uint8)
    left, right = min(start, 145) - 5, 150
    kernel, resampling = {
        "c": (cubic, Image.Resampling.BICUBIC),
        "b": (triangle, Image.Resampling.BILINEAR),
    }[kernel]
    expected = Image.fromarray(noise).resize((to, to), resampling, (left, 7, right, 99))
    pixels = torch.from_numpy(noise).permute(2, 0, 1)[None].float()
    across = weights(torch.tensor([left]), torch.tensor([(right - left) / to]), to, 150, kernel)
    down = weights(torch.tensor([7.0]), torch.tensor([92 / to]), to, 100, kernel)
    found = resample(pixels, across, down)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - np.asarray(expected)).max() <= 2


def test_images_in_a_devices_memory_are_those_of_the_run():
    """As on a GPU, which holds them all; here by another name of the CPU."""
    shown = [
        View(np.full((100, 150, 3), value, np.uint8), make_scene("abyss", ())) for value in range(9)
    ]
    held = Images(shown, SIDE, "cpu:0")
    asked = orders(shown, [7, 2], [draws.Changes(shown[0].scene)] * 2, [])
    assert held._all is not None and held._all.shape == (9, 3, 100, 150)
    assert held.changed(asked).amax((1, 2, 3)).tolist() == [7, 2]
    assert torch.equal(held.changed(asked), Images(shown, SIDE, "cpu").changed(asked))


@settings(max_examples=30, deadline=None)
@given(views())
def test_mirroring_twice_is_the_view_itself(view):
    changes = draws.Changes(mirrored(view.scene), mirror=True)
    once = View(changed(view, changes), changes.scene)
    twice = draws.Changes(mirrored(once.scene), mirror=True)
    assert (changed(once, twice) == view.image).all()
    assert twice.scene.karts == view.scene.karts


def test_crop_moves_boxes_with_the_image():
    """A white kart on black stays under its box, wherever the window falls."""
    image = np.zeros((100, 150, 3), np.uint8)
    image[40:70, 60:100] = 255
    view = View(image, make_scene("abyss", (Kart("tux", (60, 40, 100, 70)),)))
    for seed in range(20):
        window = draws.draw_window(random.Random(seed))
        (kart,) = draws.cropped(view.scene, window).karts
        cut = changed(view, draws.Changes(view.scene, window=window))
        rows, columns = np.nonzero(cut[..., 0] > 127)
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(seen) - np.array(kart.box)).max() <= 1


@pytest.mark.parametrize("background", [100, 50])
def test_paste_shows_the_kart_at_its_box_and_nowhere_else(background):
    """White on grey; where it is darker, so is the kart, and of what was around it none comes."""
    kart, box = Kart("tux", (10, 10, 40, 40)), (70, 50, 100, 80)
    there = np.full((100, 150, 3), 100, np.uint8)
    there[10:40, 16:34] = 240
    donor = View(there, make_scene("volcano_island", (kart,)))
    here = np.full((100, 150, 3), background, np.uint8)
    view = View(here, make_scene("abyss", ()))
    scene = draws.pasted(view.scene, "tux", box)
    assert scene.track == "abyss" and scene.karts == (Kart("tux", box),)
    image = changed(view, draws.Changes(scene, draws.Paste(0, kart, box)), [donor])
    inside = image[50:80, 70:100]
    expected = 240 if background == 100 else 240 / augment.MAX_RELIGHTING
    assert abs(inside[15, 15].astype(int) - expected).max() <= 1
    assert (inside[:, :2] == background).all() and (inside[:, -2:] == background).all()
    outside = image.copy()
    outside[50:80, 70:100] = background
    assert (outside == background).all()


@settings(max_examples=60, deadline=None)
@given(views(), st.lists(views().filter(lambda view: view.scene.karts), max_size=3), st.data())
def test_augmented_views_are_lawful_whatever_is_drawn(view, donors, data):
    which = data.draw(st.sets(st.sampled_from(list(draws.CHANCES))))
    seed, scenes = data.draw(st.integers(0, 100)), [donor.scene for donor in donors]
    drawn = draws.draw(view.scene, scenes, random.Random(seed), which)
    assert drawn.scene.track == view.scene.track
    names = [kart.name for kart in drawn.scene.karts]
    assert len(names) == len(set(names)) <= len(view.scene.karts) + ("paste" in which)
    if "paste" not in which:
        assert set(names) <= {kart.name for kart in view.scene.karts}
    for x1, y1, x2, y2 in (kart.box for kart in drawn.scene.karts):
        assert 0 <= x1 <= x2 - MIN_BOX_SIDE and x2 <= IMAGE_SIZE[0]
        assert 0 <= y1 <= y2 - MIN_BOX_SIDE and y2 <= IMAGE_SIZE[1]
    assert (drawn.scene.ego is None) == (not drawn.scene.karts)
    image = changed(view, drawn, donors)
    assert image.shape == view.image.shape and image.dtype == np.uint8
    if not which:
        assert drawn == draws.Changes(view.scene) and (image == view.image).all()
    assert draws.draw(view.scene, scenes, random.Random(seed), which) == drawn
    assert (changed(view, drawn, donors) == image).all()


@pytest.mark.parametrize("name", ["tux", "gnu"])
def test_paste_leaves_a_view_alone_where_it_would_lie(name):
    """The same kart twice, or one kart hidden behind another, would make the labels wrong."""
    scene = make_scene("abyss", (Kart("tux", (70, 50, 100, 80)),))
    box = (71, 51, 99, 79) if name == "gnu" else (0, 0, 20, 20)
    assert draws.pasted(scene, name, box) is None


def test_what_is_drawn_has_its_chances():
    found = Counter()
    rng = random.Random(0)
    scene = make_scene("abyss", (Kart("tux", (60, 40, 90, 70)),))
    donor = make_scene("lighthouse", (Kart("gnu", (5, 50, 25, 70)),))
    plain = draws.Changes(scene)
    for _ in range(2000):
        changes = draws.draw(scene, [donor], rng)
        pairs = zip(changes._fields[1:], changes[1:], plain[1:], strict=True)
        found.update(name for name, value, before in pairs if value != before)
    expected = {"paste": 0.3, "window": 0.7, "mirror": 0.5, "light": 1.0}
    assert {name: round(n / 2000, 1) for name, n in found.items()} == expected
