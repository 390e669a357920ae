"""The convolutional stem, and the fine labels that teach it."""

import numpy as np
import pytest
import torch
from tiny import write_tiny_base
from transformers import AutoConfig, AutoModelForImageTextToText

from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.common.files import read_json, write_json
from homework.labels.questions import KARTS
from homework.labels.scene import Kart, make_scene
from homework.model.stem import Idefics3StemConfig, Idefics3StemForConditionalGeneration
from lab.pretraining import architecture, dense_labels, heads


@pytest.fixture(scope="module")
def model():
    return architecture.build_model(0).eval()


def test_the_stem_makes_the_patches_that_the_tower_expects(model):
    vision = model.config.vision_config
    pixels = torch.randn(2, 3, vision.image_size, vision.image_size)
    side = vision.image_size // vision.patch_size
    assert model.stem(pixels).shape == (2, vision.hidden_size, side, side)
    assert model.stem.weight.dtype == torch.float32
    assert model.half().stem.weight.dtype == torch.float16
    model.float()


def test_the_embedded_base_has_a_normal_size(model):
    assert sum(weight.numel() for weight in model.parameters()) <= 12_000_000


def test_auto_classes_load_a_checkpoint(tmp_path):
    folder = write_tiny_base(tmp_path / "base", stem=True)
    assert isinstance(AutoConfig.from_pretrained(folder), Idefics3StemConfig)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert isinstance(model, Idefics3StemForConditionalGeneration)
    ours = BaseVLM(folder, verbose=False).network.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.float(), ours[name], msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stem_channels", [8, 16]),
        ("stem_channels", [8, 16, 10**9]),
        ("stem_blocks", [0, 10**9, 0]),
        ("stem_strides", [1, 2, 2]),
        ("stem_strides", [1, -2, -3]),
        ("stem_side", 0),
    ],
)
def test_a_checkpoint_with_another_stem_is_refused(tmp_path, field, value):
    folder = write_tiny_base(tmp_path / "base", stem=True)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {field: value})
    with pytest.raises(InputError, match="the model cannot be loaded"):
        BaseVLM(folder, verbose=False)


# --- fine labels ---

SCENE = make_scene(
    "abyss", (Kart("tux", (60, 40, 100, 70)), Kart("gnu", (0, 0, 5, 5)), Kart("xue", (9, 0, 14, 6)))
)


def test_each_kart_has_a_peak_of_its_own():
    found = dense_labels.centers([SCENE, make_scene("abyss", ()), SCENE], 36)
    assert found.heat.shape == (3, 36, 36) and not found.heat[1].any()
    assert len(found.cells) == 6 and len(set(found.cells[:3])) == 3
    assert (found.heat.reshape(-1)[found.cells] == 1).all()
    assert (found.heat == 1).sum() == 6
    assert [KARTS[name] for name in found.names[:3]] == ["tux", "gnu", "xue"]
    assert ((found.boxes[:, :2] >= 0) & (found.boxes[:, :2] < 1)).all()
    np.testing.assert_allclose(
        np.exp(found.boxes[0, 2:]), [40 / 150 * 36, 30 / 100 * 36], rtol=1e-5
    )
    row, column = divmod(int(found.cells[0]), 36)
    assert (column, row) == (int(80 / 150 * 36), int(55 / 100 * 36))


def test_right_scores_cost_less_than_wrong_ones():
    truth = dense_labels.Centers(*map(torch.from_numpy, dense_labels.centers([SCENE], 12)))
    scores = torch.zeros(1, 12, 12, 1 + len(KARTS) + 4)
    scores[..., 0] = torch.from_numpy(np.where(truth.heat.numpy() > 0.5, 8.0, -8.0))
    flat = scores.view(-1, scores.shape[-1])
    flat[truth.cells, 1 + truth.names] = 8.0
    flat[truth.cells, -4:] = truth.boxes
    right = heads.center_losses(scores, truth)
    wrong = heads.center_losses(-scores, truth)
    assert all(right[name] < 0.1 * wrong[name] for name in right)
    none = dense_labels.Centers(
        *map(torch.from_numpy, dense_labels.centers([make_scene("abyss", ())], 12))
    )
    assert all(torch.isfinite(part) for part in heads.center_losses(scores, none).values())
