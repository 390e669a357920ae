"""Pre-training: a few steps, a resume that changes nothing, and a checkpoint that loads."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trainings import stop_at

from homework.base_vlm import BaseVLM
from homework.common import distributed
from homework.common.errors import InputError
from homework.common.files import read_json, write_json
from homework.frames.split import frame_of
from homework.model.loading import EMBEDDED_BASE
from homework.training import checkpoints
from lab import pretrain
from lab.pretraining import batches, task

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


@pytest.fixture
def tiny_data(tmp_path, monkeypatch, tiny_architecture):
    """Ten frames of the sample as `train`, one of them held out, and a small model."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for info in sorted(SAMPLE.glob("*_info.json"))[:10]:
        for file in SAMPLE.glob(f"{frame_of(info.name)}_*"):
            shutil.copy(file, folder)
    monkeypatch.setattr(batches, "HELD_OUT", 0.2)
    monkeypatch.setattr(task, "STEPS_PER_CHECKPOINT", 2)
    return folder


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch, capsys):
    options = {"data_dir": str(tiny_data), "steps": 4, "dense_steps": 1, "batch_size": 4}
    pretrain.run(output=str(tmp_path / "whole"), work_dir=str(tmp_path / "a"), **options)
    printed = capsys.readouterr().out
    assert "90 views to learn from, 10 to measure on" in printed
    assert re.search(r"step 4 eval_loss [\d.]+ .*held-out track [\d.]+ held-out ego ", printed)

    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)
    capsys.readouterr()
    # Who prepares the images changes nothing either.
    options["num_workers"] = 2
    pretrain.run(output=str(tmp_path / "cut"), work_dir=str(tmp_path / "b"), **options)
    assert "continues from" in capsys.readouterr().out

    whole, cut = (BaseVLM(tmp_path / name, verbose=False) for name in ("whole", "cut"))
    for (name, expected), found in zip(
        whole.model.state_dict().items(), cut.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_a_run_without_output_leaves_the_shipped_base_alone(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "RUNS_DIR", tmp_path / "runs")
    before = {path.name: path.stat().st_mtime_ns for path in EMBEDDED_BASE.iterdir()}
    pretrain.run(data_dir=str(tiny_data), steps=1, dense_steps=1, batch_size=4)
    assert BaseVLM(tmp_path / "runs" / "base", verbose=False).processor
    after = {path.name: path.stat().st_mtime_ns for path in EMBEDDED_BASE.iterdir()}
    assert after == before


def test_a_state_of_other_data_is_refused(tiny_data, tmp_path):
    options = {"data_dir": str(tiny_data), "work_dir": str(tmp_path / "a"), "dense_steps": 1}
    options |= {"steps": 1, "batch_size": 4, "output": str(tmp_path / "base")}
    pretrain.run(**options)
    file = min(Path(tiny_data).glob("*_info.json"))
    file.write_text(file.read_text() + " ")
    with pytest.raises(InputError, match="another run: data_sha256"):
        pretrain.run(**options)


def test_a_state_of_another_recipe_is_refused(tiny_data, tmp_path):
    options = {
        "data_dir": str(tiny_data),
        "work_dir": str(tmp_path / "a"),
        "dense_steps": 1,
        "batch_size": 4,
    }
    pretrain.run(output=str(tmp_path / "one"), steps=2, **options)
    with pytest.raises(
        InputError, match=r"a: holds checkpoints of another run: steps 2 \(now 3\); .*delete"
    ):
        pretrain.run(output=str(tmp_path / "two"), steps=3, **options)


@pytest.mark.parametrize(
    ("name", "value"), [("augmentations", ["mirror"]), ("held_out", "race"), ("start", "abc")]
)
def test_an_unfinished_run_with_an_earlier_versions_option_is_refused(
    tiny_data, tmp_path, name, value
):
    """It would otherwise go on with other images or weights."""
    options = {"data_dir": str(tiny_data), "work_dir": str(tmp_path / "a"), "dense_steps": 1}
    options |= {"steps": 1, "batch_size": 4, "output": str(tmp_path / "base")}
    pretrain.run(**options)
    file = tmp_path / "a" / checkpoints.RECIPE
    write_json(file, read_json(file) | {name: value})
    with pytest.raises(InputError, match=f"another run: {name}"):
        pretrain.run(**options)


def test_validation_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match="never trained on"):
        pretrain.run(data_dir=str(tmp_path / "valid"))


def test_a_batch_smaller_than_the_number_of_processes_is_refused(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(InputError, match="--batch_size: 1 images are too few for 2 processes"):
        pretrain.run(data_dir=str(tiny_data), work_dir=str(tmp_path / "work"), batch_size=1)


@pytest.mark.slow
def test_two_processes_share_the_steps(tiny_data, tmp_path):
    """Each takes half of a step's images; one of them prints and writes."""
    command = ["accelerate.commands.launch", "--config_file", "configs/2_cpu_processes.yaml"]
    options = [f"--data_dir={tiny_data}", f"--output={tmp_path / 'base'}"]
    options += [f"--work_dir={tmp_path / 'work'}", "--steps=2", "--dense_steps=1", "--batch_size=4"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "-m", "lab.pretrain", "run", *options],
        cwd=SAMPLE.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("views to learn from") == 1
    assert done.stdout.count("wrote ") == 1
    assert BaseVLM(tmp_path / "base", verbose=False).base == str(tmp_path / "base")


def test_a_model_that_it_did_not_write_is_not_replaced(tiny_data, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"mine")
    options = {"data_dir": str(tiny_data), "output": str(base), "steps": 1, "dense_steps": 1}
    options |= {"work_dir": str(tmp_path / "work"), "batch_size": 4}
    with pytest.raises(InputError, match=r"model\.safetensors: there is a file .* --overwrite"):
        pretrain.run(**options)
    assert [path.read_bytes() for path in base.iterdir()] == [b"mine"]
    assert not (tmp_path / "work").exists()
    pretrain.run(**options, overwrite=True)
    pretrain.run(**options)  # its own


def test_a_line_writes_steps_in_full():
    record = {"step": 3400, "loss": 1.23456}
    assert task.Pretraining.line(None, record, None) == "step 3400 loss 1.23"
