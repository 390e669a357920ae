"""Two processes learn what one learns, resume each other's checkpoints, and share questions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import accelerate
import launched
import pytest
import torch
from helpers import make_split
from safetensors.torch import load_file
from tiny import write_tiny_base

from homework import generate_qa
from homework.common import distributed, machine
from homework.common.distributed import Heartbeat, Progress, waiting
from homework.common.errors import InputError
from homework.model import adapter_files
from homework.training.checkpoints import locked

ROOT = Path(__file__).resolve().parents[2]
STEP = 8  # images
REPORT = {"max_samples": 40, "heat_maps": 2}


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict:
    """25 images in steps of 8: the last has one, and one of two processes nothing to do."""
    folder = tmp_path_factory.mktemp("data")
    generate_qa.generate(str(make_split(folder / "train", frames=3, seed=0)), num_workers=1)
    file = folder / "train" / "train_qa_pairs.json"
    pairs = json.loads(file.read_text())
    images = sorted({pair["image_file"] for pair in pairs})[: 3 * STEP + 1]
    file.write_text(json.dumps([pair for pair in pairs if pair["image_file"] in images]))
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
        patch.setattr(machine, "choose", machine.choose)
        launched.run(
            {**options, "per_device_train_batch_size": STEP, "output_dir": str(output)},
            [{"split": "train", "data_dir": options["data_dir"], **predictions(output)}],
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
    weights, others = (load_file(folder / adapter_files.WEIGHTS) for folder in (found, expected))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=1e-3, atol=1e-4)
        assert weight.abs().max() > 0


@pytest.fixture(scope="module")
def two(options, alone, tmp_path_factory) -> tuple[Path, str]:
    """What two processes make of it, with a report on `alone`; and what they print."""
    output = tmp_path_factory.mktemp("two")
    train = {**options, "per_device_train_batch_size": STEP // 2, "output_dir": str(output)}
    test = {"split": "train", "data_dir": options["data_dir"]}
    report = {**test, **REPORT, "checkpoint": str(alone), "report": str(output / "report")}
    tests = [{**test, **predictions(output)}, report]
    ended = launch(tmp_path_factory.mktemp("options"), train=train, tests=tests)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return output, ended.stdout


@pytest.mark.slow
def test_two_processes_learn_and_answer_as_one(alone, two):
    output, printed = two
    assert_same(output, alone)
    answers = [json.loads((path / "predictions.json").read_text()) for path in (output, alone)]
    assert [a["question"] for a in answers[0]] == [a["question"] for a in answers[1]]
    same = [a["answer"] == b["answer"] for a, b in zip(*answers, strict=True)]
    assert sum(same) >= 0.99 * len(same)
    # One process prints and writes.
    assert printed.count(f"wrote {output}: ") == 1
    assert printed.count("questions/s") == 2
    assert not list(output.glob("checkpoint-*"))


@pytest.mark.slow
def test_two_processes_report_what_one_reports_and_ask_the_base_alone_too(
    options, alone, two, tmp_path
):
    output, printed = two
    assert printed.count("index.html") == 1
    test = {"split": "train", "data_dir": options["data_dir"], "checkpoint": str(alone), **REPORT}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "choose", machine.choose)
        launched.run(tests=[{**test, "report": str(tmp_path)}])
    reports = [json.loads((at / "report.json").read_text()) for at in (output / "report", tmp_path)]
    answers = [[sample["answer"] for sample in report["samples"]] for report in reports]
    assert answers[0] == answers[1]
    assert [report["others"][0]["checkpoint"].endswith("alone") for report in reports] == [True] * 2


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_one_process_goes_on(options, alone, tmp_path, capsys):
    output = tmp_path / "killed"
    train = {**options, "per_device_train_batch_size": STEP // 4, "output_dir": str(output)}
    train["gradient_accumulation_steps"] = 2
    ended = launch(tmp_path, train=train, killed_at=5)
    assert ended.returncode != 0
    assert "Signal 9 (SIGKILL)" in ended.stderr
    assert not (output / adapter_files.BASE).exists()
    del train["gradient_accumulation_steps"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "choose", machine.choose)
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


NO_LAUNCHER = [
    {"RANK": "1"},
    {"RANK": "0", "WORLD_SIZE": "2"},
    {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
    {"RANK": "one", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
    {"WORLD_SIZE": "-1"},
    {"RANK": "", "WORLD_SIZE": "2"},
]


@pytest.mark.parametrize("variables", NO_LAUNCHER)
def test_variables_that_no_launcher_has_set_are_one_line(variables, monkeypatch, tmp_path):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InputError, match="unset RANK WORLD_SIZE MASTER_ADDR MASTER_PORT"),
        locked(tmp_path),
    ):
        raise AssertionError("must not begin")
    with pytest.raises(InputError, match="unset RANK"):
        distributed.init()


def test_processes_that_cannot_be_reached_are_one_line(monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")

    def refused(cpu):
        raise RuntimeError("connect() timed out.\nTried to reach localhost")

    monkeypatch.setattr(accelerate, "PartialState", refused)
    with pytest.raises(InputError, match=r"cannot be reached \(connect.*unset RANK") as error:
        distributed.init()
    assert "\n" not in str(error.value)
    assert "waits for the other processes" in capsys.readouterr().out


def test_a_launcher_of_one_process_is_none(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    distributed.init()


def at(monkeypatch) -> list[float]:
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(distributed.time, "monotonic", lambda: now[0])
    return now


def test_the_total_is_said_within_seconds_and_then_what_is_left(monkeypatch, capsys):
    now = at(monkeypatch)
    work = Progress("answers 120 questions", 120, "images")
    for _ in range(3):
        now[0] += 4.5
        work.add(1)
    assert capsys.readouterr().err.splitlines() == [
        "answers 120 questions: about 9.0 min",
        "1 of 120 images, 0.22 a second, 8.9 min left",
        "3 of 120 images, 0.22 a second, 8.8 min left",
    ]


def test_short_work_is_silent(monkeypatch, capsys):
    now = at(monkeypatch)
    work = Progress("answers", 4, "images")
    for _ in range(4):
        now[0] += 0.5
        work.add(1)
    assert capsys.readouterr() == ("", "")


def test_a_block_that_ends_leaves_no_thread(capsys):
    distributed.print0("a line")
    with Heartbeat(lambda: "never so soon after it") as heartbeat:
        pass
    assert capsys.readouterr().out == "a line\n"
    assert not heartbeat._thread.is_alive()


def test_work_of_unknown_length_says_that_it_goes_on(monkeypatch, capsys):
    """At once, where the last line is long ago: silence does not count from the block's begin."""
    said, print0 = threading.Event(), distributed.print0
    monkeypatch.setattr(distributed, "print0", lambda text: print0(text) or said.set())
    monkeypatch.setattr(distributed, "_last_line", time.monotonic() - 60)
    with waiting("loads the base"):
        assert said.wait(60)
    assert re.match(r"loads the base, \d s so far\n", capsys.readouterr().out)
