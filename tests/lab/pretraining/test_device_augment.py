"""The pictures that a device makes of a batch are those that `augment` makes one at a time."""

import random
from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from strategies import boxes, views

from homework.model.loading import load_inputs
from lab.pretraining import architecture, augment, draws
from lab.pretraining.batches import AugmentedBatches, Steps
from lab.pretraining.device_augment import Pictures, cubic, orders, resample, triangle, weights

SIDE = 36
ROUNDING = 3  # of 255: a level of each of three roundings


@settings(max_examples=40, deadline=None)
@given(st.lists(views(), min_size=1, max_size=4), st.integers(0, 10_000), st.data())
def test_a_device_changes_a_batch_as_pillow_changes_each_picture(shown, seed, data):
    which = data.draw(st.sets(st.sampled_from(list(draws.CHANCES))))
    batches = AugmentedBatches(shown, 6, seed, which)
    drawn = batches.drawn(0)
    numbers, changes = zip(*drawn, strict=True)
    pictures = Pictures(shown, SIDE, "cpu")
    asked = orders(shown, numbers, changes, batches.donors)
    made, squares = pictures.changed(asked), pictures.squares(asked)
    assert squares.dtype == torch.uint8 and squares.shape == (6, SIDE, SIDE, 3)
    for one, square, change, view in zip(made, squares, changes, batches[0], strict=True):
        assert change.scene == view.scene
        away = np.abs(one.permute(1, 2, 0).numpy() - view.picture)
        assert away.max() <= ROUNDING and away.mean() < 0.1
        expected = Image.fromarray(np.ascontiguousarray(view.picture)).resize(
            (SIDE, SIDE), Image.Resampling.BILINEAR
        )
        away = np.abs(square.numpy().astype(int) - np.asarray(expected))
        assert away.max() <= ROUNDING + 1 and away.mean() < 0.6


@settings(max_examples=30, deadline=None)
@given(views().filter(lambda view: view.scene.karts), st.integers(1, 4), boxes(), st.data())
def test_a_device_pastes_karts_as_pillow_does(donor, darker, box, data):
    """Of any size and place there and here; from a picture that is lighter or darker."""
    kart = data.draw(st.sampled_from(donor.scene.karts))
    # Pillow 13 resizes first along the side where that is less work. Both orders agree where no
    # value between the two passes leaves 0 to 255.
    donor = donor._replace(picture=donor.picture // 2 + 64)
    here = augment.View(donor.picture[::-1] // darker, draws.make_scene("abyss", ()))
    if data.draw(st.booleans()):
        here, donor = (view._replace(picture=255 - view.picture) for view in (here, donor))
    changes = draws.Changes(here.scene, draws.Paste(0, kart, box))
    made = Pictures([here, donor], SIDE, "cpu").changed(orders([here, donor], [0], [changes], [1]))
    expected = augment.apply(here, changes, [donor])
    away = np.abs(made[0].permute(1, 2, 0).numpy() - expected.picture)
    # What Pillow rounds between its passes is relit with the kart.
    most = ROUNDING * augment.MAX_RELIGHTING
    assert len(expected.scene.karts) == 1 and away.max() <= most and away.mean() < 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(5, 150), st.integers(5, 60), st.sampled_from("cb"))
def test_weights_resize_as_pillow(seed, start, to, kernel):
    """Smaller and larger, from anywhere in a picture."""
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


def test_what_is_drawn_has_its_chances_and_leaves_the_pixels_out():
    """A view of no picture at all: only a scene is needed, and it is the scene of `augment`."""
    found = Counter()
    rng = random.Random(0)
    scene = draws.make_scene("abyss", (draws.Kart("tux", (60, 40, 90, 70)),))
    donor = draws.make_scene("lighthouse", (draws.Kart("gnu", (5, 50, 25, 70)),))
    for _ in range(2000):
        changes = draws.draw(scene, [donor], rng)
        found.update(name for name in changes._fields if getattr(changes, name))
    expected = {"paste": 0.3, "window": 0.7, "mirror": 0.5, "light": 1.0, "scene": 1.0}
    assert {name: round(n / 2000, 1) for name, n in found.items()} == expected


def test_a_step_has_the_same_labels_whoever_makes_its_pictures(tmp_path):
    architecture.save_processor(tmp_path)
    inputs = load_inputs(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (4, 100, 150, 3), np.uint8)
    karts = [draws.Kart("tux", (40, 40, 80, 80)), draws.Kart("gnu", (5, 50, 25, 70))]
    shown = [
        augment.View(picture, draws.make_scene("abyss", tuple(karts[: i % 3])), str(i))
        for i, picture in enumerate(noise)
    ]
    drawn = AugmentedBatches(shown, 8, 3)
    for share in ((0, 1), (1, 2)):
        here, there = (
            Steps(drawn, inputs, 12, 36, 0, share, on_device)[2] for on_device in (False, True)
        )
        assert there.squares is None and here.orders is None
        assert len(here.squares) == len(there.orders.pictures) == 8 // share[1]
        for name in ("row", "fine"):
            for a, b in zip(getattr(here, name), getattr(there, name), strict=True):
                torch.testing.assert_close(a, b)
        assert here.targets.keys() == there.targets.keys()
        for head, target in here.targets.items():
            assert torch.equal(target, there.targets[head])
        squares = Pictures(shown, inputs.side, "cpu").squares(there.orders)
        assert (squares.int() - here.squares.int()).abs().max() <= ROUNDING + 1
