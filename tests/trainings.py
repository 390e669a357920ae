"""A training of a second, and one that was stopped, for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import make_split
from tiny import write_tiny_base

from homework import finetune, generate_qa
from homework.training.trainer import ViewTrainer


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """A data folder with labelled frames."""
    folder = tmp_path_factory.mktemp("data")
    generate_qa.generate(str(make_split(folder / "train", frames=3, seed=0)), num_workers=1)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def options(labelled, base, tmp_path) -> dict:
    """Of a training of four steps, with a checkpoint after each."""
    return {
        "data_dir": str(labelled),
        "output_dir": str(tmp_path / "out"),
        "base": str(base),
        "max_steps": 4,
        "save_steps": 1,
        "lora_r": 4,
        "per_device_train_batch_size": 4,
    }


@pytest.fixture
def unfinished(options, monkeypatch) -> Path:
    """A training that was stopped in its fourth step, and can be gone on with."""
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options)
    return Path(options["output_dir"])


def stop_at(monkeypatch, step: int, error: type[BaseException]) -> None:
    """Raise `error` in this step of a training."""
    compute_loss = ViewTrainer.compute_loss

    def stopping(self, *args, **kwargs):
        if self.state.global_step == step:
            raise error
        return compute_loss(self, *args, **kwargs)

    monkeypatch.setattr(ViewTrainer, "compute_loss", stopping)
