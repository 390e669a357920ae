"""A training of a second, and one that was stopped, for the tests."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers import make_split
from tiny import write_tiny_base

from benchmarks.smolvlm_shape import write_smolvlm_shape
from homework import finetune, generate_qa
from homework.model import adapter_files
from homework.training import adapters, run
from homework.training.loop import Loop

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"
SMALL = {"per_device_train_batch_size": 4, "lora_r": 4, "lora_alpha": 8}


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> Path:
    """A data folder with labelled frames."""
    folder = tmp_path_factory.mktemp("data")
    generate_qa.generate(str(make_split(folder / "train", frames=3, seed=0)), num_workers=1)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A base that is small enough to train within a second; not to be changed."""
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def smolvlm_shape(tmp_path_factory) -> Path:
    """SmolVLM-256M with random weights and a layer a side; not to be changed."""
    return write_smolvlm_shape(tmp_path_factory.mktemp("smolvlm"), 1, 1)


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory) -> Path:
    """A data folder whose `train` holds four of the sample's frames, with pairs."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    for info in sorted(SAMPLE.glob("*_info.json"))[:4]:
        for file in SAMPLE.glob(f"{info.name.split('_')[0]}_*"):
            shutil.copy(file, folder / "train")
    generate_qa.generate(str(folder / "train"), num_workers=1)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, base, sample_data) -> Path:
    """An adapter that was trained on `sample_data` for four steps; not to be changed."""
    output = tmp_path_factory.mktemp("trained")
    finetune.train(str(sample_data), output_dir=str(output), base=str(base), max_steps=4, **SMALL)
    return output


@pytest.fixture(autouse=True)
def undrawn_curves(monkeypatch) -> None:
    """The curves of a small training take longer to draw than to learn.

    `trained`, which is made before, and trainings in processes of their own have theirs.
    """
    monkeypatch.setattr(run, "save_curves", lambda log, path: path.touch())


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Where replaced adapters are kept."""
    monkeypatch.setattr(adapters, "RUNS_DIR", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def four_steps(labelled, base) -> dict:
    """The options of a training of four steps, with a checkpoint after each; without a folder."""
    return {
        "data_dir": str(labelled),
        "base": str(base),
        "max_steps": 4,
        "save_steps": 1,
        "lora_r": 4,
        "per_device_train_batch_size": 4,
    }


@pytest.fixture
def options(four_steps, tmp_path, runs) -> dict:
    """Of a training of four steps into a folder of the test's own."""
    return four_steps | {"output_dir": str(tmp_path / "out")}


@pytest.fixture(scope="session")
def finished_run(four_steps, tmp_path_factory) -> Path:
    """What `finetune.train(**options)` writes; not to be changed."""
    output = tmp_path_factory.mktemp("finished")
    finetune.train(**four_steps, output_dir=str(output))
    return output


@pytest.fixture(scope="session")
def unfinished_run(four_steps, tmp_path_factory) -> Path:
    """What a training leaves that was stopped in its fourth step; not to be changed."""
    output = tmp_path_factory.mktemp("unfinished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**four_steps, output_dir=str(output))
    return output


@pytest.fixture
def unfinished(unfinished_run, options) -> Path:
    """The folder of `options` after a training that was stopped in its fourth step."""
    return Path(shutil.copytree(unfinished_run, options["output_dir"]))


def stop_at(monkeypatch, step: int, error: type[BaseException]) -> None:
    """Raise `error` in this step of a training."""
    optimizer_step = Loop._optimizer_step

    def stopping(self, *args, **kwargs):
        if self.step == step:
            raise error
        return optimizer_step(self, *args, **kwargs)

    monkeypatch.setattr(Loop, "_optimizer_step", stopping)


def write_adapter(folder: Path, text: str, names: Sequence[str] = adapter_files.FILES) -> Path:
    """The files of an adapter, all of which hold `text`."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(text)
    return folder
