"""Heat maps: they show a place, follow the image and the answer, and are drawn over a frame."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tiny import score, write_tiny_base

from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.labels import questions
from homework.model import heat_map


@pytest.fixture(scope="module", params=[False, True], ids=["SmolVLM", "SmolVLM2"])
def vlm(request, tmp_path_factory):
    folder = write_tiny_base(tmp_path_factory.mktemp("tiny"), second=request.param)
    return BaseVLM(folder, verbose=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two frames, alike but for the corner that a square is in."""
    folder, paths = tmp_path_factory.mktemp("pictures"), []
    for name, box in (("a", (5, 5, 40, 40)), ("b", (110, 60, 145, 95))):
        image = Image.new("RGB", (150, 100), "navy")
        ImageDraw.Draw(image).rectangle(box, fill="yellow")
        paths.append(str(folder / f"{name}.png"))
        image.save(paths[-1])
    return paths


def test_a_map_is_no_constant_and_follows_image_and_answer(vlm, images):
    asked = [(path, questions.EGO, answer) for path in images for answer in ("tux", "gnu")]
    maps = heat_map.heat_maps(vlm, *zip(*asked, strict=True))
    assert maps.shape == (4, 12, 12) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and maps.min() >= 0
    assert maps.max(axis=(1, 2)) == pytest.approx(1)
    assert (maps.std(axis=(1, 2)) > 0.05).all()
    assert np.abs(maps[0] - maps[2]).max() > 0.2  # another image
    assert np.abs(maps[0] - maps[1]).max() > 0.05  # another answer


def test_maps_do_not_depend_on_what_is_asked_beside(vlm, images):
    asked = [
        (images[0], questions.WHERE.format("sara_the_racer"), "front and left"),
        (images[1], questions.COUNT, "3"),
    ]
    together = heat_map.heat_maps(vlm, *zip(*asked, strict=True))
    for (path, question, answer), expected in zip(asked, together, strict=True):
        alone = heat_map.heat_maps(vlm, [path], [question], [answer])[0]
        np.testing.assert_allclose(alone, expected, atol=0.05)


def test_the_likelihood_explained_is_the_one_that_score_gives(vlm, images):
    with torch.no_grad(), torch.autocast("cpu", vlm.dtype, vlm.dtype != torch.float32):
        patches = heat_map._patch_features(vlm, images)
        pairs = [(questions.EGO, "tux"), ("x y z?", "1")]
        losses = [
            heat_map._loss(vlm, patches[[index]], [pair]).item() for index, pair in enumerate(pairs)
        ]
        assert heat_map._loss(vlm, patches, pairs).item() == pytest.approx(sum(losses), rel=0.03)
    scores = score(vlm, images, [question for question, _ in pairs], [["tux"], ["1"]])
    assert losses == pytest.approx([-scores[0][0], -scores[1][0]], rel=0.03)


def test_the_hottest_patch_is_the_one_that_the_answer_depends_on(vlm, images, monkeypatch):
    """A likelihood that looks at one patch alone has its heat there and nowhere else."""
    monkeypatch.setattr(heat_map, "_loss", lambda vlm, patches, pairs: -patches[:, 17].pow(2).sum())
    heat = heat_map.heat_maps(vlm, images[:1], [questions.EGO], ["tux"])[0]
    assert np.unravel_index(heat.argmax(), heat.shape) == (1, 5)
    assert (heat > 0).sum() == 1


def test_no_questions_give_no_maps_and_unequal_lists_are_refused(vlm, images):
    assert len(heat_map.heat_maps(vlm, [], [], [])) == 0
    with pytest.raises(InputError, match="2 images, 1 questions"):
        heat_map.heat_maps(vlm, images, [questions.EGO], ["tux"])


def test_overlay_lights_up_the_hot_and_leaves_the_cold_as_it_is():
    heat = np.zeros((12, 12), np.float32)
    heat[:4, :4] = 1
    drawn = np.asarray(heat_map.overlay(Image.new("RGB", (150, 100), (100, 100, 100)), heat))
    assert drawn.shape == (600, 900, 3)
    hot, cold = drawn[60, 60].astype(int), drawn[500, 800].astype(int)
    assert hot[0] > hot[2] + 60 and hot.sum() > 300
    assert cold.tolist() == [100, 100, 100]


def test_a_large_image_is_not_enlarged_beyond_reason():
    drawn = heat_map.overlay(Image.new("RGB", (4000, 3000)), np.zeros((12, 12), np.float32))
    assert drawn.size == (1200, 900)
