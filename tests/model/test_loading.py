"""Loading a base: what is not there, not a SmolVLM or not whole is refused in one line."""

import pytest
from tiny import write_tiny_base

from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.model.loading import find_checkpoint


def test_checkpoints_that_are_not_there_are_refused_in_one_line(tmp_path):
    for wrong in (tmp_path, tmp_path / "nothing", "somebody/something"):
        with pytest.raises(InputError) as caught:
            find_checkpoint(wrong)
        assert "\n" not in str(caught.value)


def test_another_model_class_is_refused(tmp_path):
    write_tiny_base(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"idefics3"', '"llama"'))
    with pytest.raises(InputError, match="SmolVLM is idefics3"):
        BaseVLM(tmp_path, verbose=False)


def test_a_base_with_missing_weights_is_refused(tmp_path):
    """transformers alone would fill them with random ones and go on."""
    from safetensors.torch import load_file, save_file

    write_tiny_base(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if "vision" in name))
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="missing weights"):
        BaseVLM(tmp_path, verbose=False)
