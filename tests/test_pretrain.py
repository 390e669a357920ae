"""Pre-training: a few steps, a resume that changes nothing, and a checkpoint that loads."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from homework import embedded, pretrain, pretraining
from homework.base_vlm import BaseVLM
from homework.files import InputError
from homework.frames import frame_of

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"


@pytest.fixture
def tiny_data(tmp_path, monkeypatch):
    """Ten frames of the sample as `train`, one of them held out, and a small model."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for info in sorted(SAMPLE.glob("*_info.json"))[:10]:
        for file in SAMPLE.glob(f"{frame_of(info.name)}_*"):
            shutil.copy(file, folder)
    config = embedded.base_config()
    config.vision_config.num_hidden_layers = config.text_config.num_hidden_layers = 1
    monkeypatch.setattr(embedded, "base_config", lambda: config)
    monkeypatch.setattr(pretraining, "PICTURES_PER_STEP", 4)
    monkeypatch.setattr(pretraining, "HELD_OUT", 0.2)
    monkeypatch.setattr(pretraining, "STEPS_PER_STATE", 2)
    return folder


def test_resumed_run_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch, capsys):
    options = {"data_dir": str(tiny_data), "steps": 4, "dense_steps": 1}
    pretrain.run(output=str(tmp_path / "whole"), work_dir=str(tmp_path / "a"), **options)
    printed = capsys.readouterr().out
    assert "90 views to learn from, 10 held out" in printed
    assert re.search(r"held-out accuracy at step 4: \{'ego': [\d.]+, 'count': ", printed)

    train_step = pretraining.Pretraining.train_step

    def interrupted(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return train_step(self)

    monkeypatch.setattr(pretraining.Pretraining, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)
    monkeypatch.setattr(pretraining.Pretraining, "train_step", train_step)
    pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)

    whole, cut = (BaseVLM(tmp_path / name, verbose=False) for name in ("whole", "cut"))
    for (name, expected), found in zip(
        whole.model.state_dict().items(), cut.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_a_state_of_another_recipe_is_not_gone_on_from(tiny_data, tmp_path):
    options = {"data_dir": str(tiny_data), "work_dir": str(tmp_path / "a"), "dense_steps": 1}
    pretrain.run(output=str(tmp_path / "one"), steps=2, **options)
    with pytest.raises(InputError, match="delete it"):
        pretrain.run(output=str(tmp_path / "two"), steps=3, **options)


def test_validation_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match="never trained on"):
        pretrain.run(data_dir=str(tmp_path / "valid"))
