"""Two processes learn what one learns, resume each other's checkpoints, and share questions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import launched
import pytest
import torch
from helpers import make_split
from safetensors.torch import load_file
from tiny import write_tiny_base

from homework import generate_qa
from homework.model import adapter, loaded

ROOT = Path(__file__).resolve().parents[2]
STEP = 8  # pictures


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict:
    """25 pictures in steps of 8: the last has one, and one of two processes nothing to do."""
    folder = tmp_path_factory.mktemp("data")
    generate_qa.generate(str(make_split(folder / "train", frames=3, seed=0)), num_workers=1)
    file = folder / "train" / "train_qa_pairs.json"
    pairs = json.loads(file.read_text())
    pictures = sorted({pair["image_file"] for pair in pairs})[: 3 * STEP + 1]
    file.write_text(json.dumps([pair for pair in pairs if pair["image_file"] in pictures]))
    return {
        "data_dir": str(folder),
        "base": str(write_tiny_base(tmp_path_factory.mktemp("base"))),
        "num_train_epochs": 3,
        "save_steps": 3,
        "lora_r": 4,
        "learning_rate": 5e-3,
    }


@pytest.fixture(scope="module")
def alone(options, tmp_path_factory) -> Path:
    """What one process makes of it, a step at a time."""
    output = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "choose_device", loaded.choose_device)
        launched.run(
            {**options, "per_device_train_batch_size": STEP, "output_dir": str(output)},
            {"split": "train", "data_dir": options["data_dir"], **predictions(output)},
        )
    return output


def predictions(output: Path) -> dict:
    return {"save_predictions": str(output / "predictions.json"), "max_samples": None}


def launch(folder: Path, **what) -> subprocess.CompletedProcess:
    """Run tests/launched.py in two processes."""
    file = folder / "options.json"
    file.write_text(json.dumps(what))
    command = ["accelerate.commands.launch", "--config_file", "configs/2_cpu_processes.yaml"]
    return subprocess.run(
        [sys.executable, "-m", *command, "tests/launched.py", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def assert_same(found: Path, expected: Path, names=("loss", "accuracy", "grad_norm")) -> None:
    """The same curves and the same adapter, but for the order of sums."""
    histories = [
        json.loads((folder / "trainer_state.json").read_text())["log_history"]
        for folder in (found, expected)
    ]
    assert len(histories[0]) == len(histories[1]) > 1
    for record, other in zip(*histories, strict=True):
        for name in set(names) & other.keys():
            assert record[name] == pytest.approx(other[name], rel=1e-4), name
    weights, others = (load_file(folder / adapter.WEIGHTS) for folder in (found, expected))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=1e-3, atol=1e-4)
        assert weight.abs().max() > 0


@pytest.mark.slow
def test_two_processes_learn_and_answer_as_one(options, alone, tmp_path):
    output = tmp_path / "two"
    train = {**options, "per_device_train_batch_size": STEP // 2, "output_dir": str(output)}
    test = {"split": "train", "data_dir": options["data_dir"], **predictions(output)}
    ended = launch(tmp_path, train=train, test=test)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_same(output, alone)
    answers = [json.loads((path / "predictions.json").read_text()) for path in (output, alone)]
    assert [a["question"] for a in answers[0]] == [a["question"] for a in answers[1]]
    same = [a["answer"] == b["answer"] for a, b in zip(*answers, strict=True)]
    assert sum(same) >= 0.99 * len(same)
    # One process prints and writes.
    assert ended.stdout.count("wrote ") == 1
    assert ended.stdout.count("questions/s") == 1
    assert not list(output.glob("checkpoint-*"))


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_one_process_goes_on(options, alone, tmp_path, capsys):
    output = tmp_path / "killed"
    train = {**options, "per_device_train_batch_size": STEP // 4, "output_dir": str(output)}
    train["gradient_accumulation_steps"] = 2
    ended = launch(tmp_path, train=train, killed_at=5)
    assert ended.returncode != 0
    assert "Signal 9 (SIGKILL)" in ended.stderr
    assert not (output / adapter.BASE).exists()
    del train["gradient_accumulation_steps"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "choose_device", loaded.choose_device)
        launched.run({**train, "per_device_train_batch_size": STEP})
    assert f"continues from {output / 'checkpoint-3.safetensors'}" in capsys.readouterr().out
    assert_same(output, alone)


@pytest.mark.parametrize("name", ["1_gpu", "8_gpus", "2_nodes", "2_cpu_processes"])
def test_accelerate_reads_every_configuration(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "configs" / f"{name}.yaml"))
    expected = {"1_gpu": (1, 1), "8_gpus": (8, 1), "2_nodes": (16, 2), "2_cpu_processes": (2, 1)}
    assert (config.num_processes, config.num_machines) == expected[name]
    assert config.mixed_precision == "no"
