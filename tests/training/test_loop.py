"""The training loop: records, measurements, the best weights, resumes, numbers not finite."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from trainings import stop_at

from homework import finetune
from homework.common import distributed
from homework.common.errors import InputError
from homework.model import packing
from homework.training import checkpoints
from homework.training.loop import Loop
from homework.training.step import HeldOutResult


class Batch(NamedTuple):
    target: float
    weight: float
    paths: list[str]


class OneWeight:
    """A weight that follows a number, and an accuracy that is best at step `best`."""

    device, dtype = "cpu", torch.float32

    def __init__(self, steps: int, best: int) -> None:
        self.steps, self.best = steps, best
        self.settings: dict = {}
        self.weights = {"w": torch.nn.Parameter(torch.zeros(1))}
        self.buffers = {"seen": torch.zeros((), dtype=torch.int64)}
        self.optimizers = [torch.optim.AdamW(self.weights.values())]
        self.at: dict[int, float] = {}  # the weight at each measurement

    def learning_rate(self, step):
        return 0.1

    def batches(self, first):
        for step in range(first, self.steps):
            yield [Batch(step, 2.0, ["a"]), Batch(step + 1, 1.0, ["b"])]

    def loss(self, batch):
        self.buffers["seen"] += 1
        loss = batch.weight * (self.weights["w"] - batch.target).square().sum()
        return loss, {"target": (batch.target, 1)}

    def measure(self, step):
        self.at[step] = self.weights["w"].item()
        right = 9 if step == self.best else 5
        return HeldOutResult(1 / step, {"ego": (right, 10), "count": (1, 2)})

    def line(self, record, steps_per_second):
        return str(record)


def run(task: OneWeight, folder: Path, keep_best: bool = True, patience: int = 0, **others) -> Loop:
    options = {"keep_best": keep_best, "patience": patience, **others}
    loop = Loop(task, folder, {"seed": 0}, save_steps=3, log_steps=10, **options)
    loop.run()
    return loop


@pytest.mark.parametrize("steps", [8, 11, 39])
def test_any_run_is_measured_eight_times_at_least_and_at_its_end(steps, tmp_path):
    task = OneWeight(steps, best=0)
    measured = [r for r in run(task, tmp_path).log if "eval_loss" in r]
    assert len(measured) >= 8 and measured[-1]["step"] == steps
    assert measured[0]["held-out ego"] == 0.5 and measured[0]["held-out count"] == 0.5
    assert measured[0]["eval_accuracy"] == 0.5


def test_the_weights_that_did_best_are_kept_or_the_last_ones(tmp_path):
    task = OneWeight(20, best=6)
    loop = run(task, tmp_path / "best")
    assert loop.best == (6, HeldOutResult(1 / 6, {"ego": (9, 10), "count": (1, 2)}))
    assert task.weights["w"].item() == task.at[6] != task.at[20]
    task = OneWeight(20, best=6)
    run(task, tmp_path / "last", keep_best=False)
    assert task.weights["w"].item() == task.at[20]


def test_among_equal_accuracies_the_smaller_loss_is_best(tmp_path):
    assert run(OneWeight(20, best=0), tmp_path).best[0] == 20


@pytest.mark.parametrize("stopped", [1, 4, 10, 14, 19])
def test_a_resumed_run_has_the_records_and_weights_of_an_undisturbed_one(
    stopped, tmp_path, monkeypatch
):
    """Means since the last record, the best weights and what else changes come back, too."""
    whole, task = OneWeight(20, best=6), OneWeight(20, best=6)
    expected = run(whole, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, stopped, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            run(task, tmp_path / "cut")
    task = OneWeight(20, best=6)
    found = run(task, tmp_path / "cut")
    assert (found.log, found.best) == (expected.log, expected.best)
    assert task.weights["w"].item() == whole.weights["w"].item()
    assert task.buffers["seen"] == whole.buffers["seen"] == 40


@pytest.mark.parametrize("stopped", [None, 8, 11, 13])
def test_a_run_ends_where_accuracy_rises_no_more_and_a_resumed_one_there_too(
    stopped, tmp_path, monkeypatch, capsys
):
    """Measured every second step, best at 6: after 14, four measurements later."""
    if stopped:
        with monkeypatch.context() as patch:
            stop_at(patch, stopped, KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                run(OneWeight(20, best=6), tmp_path, patience=4)
    loop = run(task := OneWeight(20, best=6), tmp_path, patience=4)
    assert loop.step == 14 and loop.best[0] == 6
    assert "ends at step 14: the held-out accuracy has not risen" in capsys.readouterr().out
    assert checkpoints.newest(tmp_path)[1].step == 14
    again = run(OneWeight(20, best=6), tmp_path, patience=4)  # killed before the adapter was there
    assert again.step == 14 and again.log == loop.log
    whole = OneWeight(20, best=6)
    run(whole, tmp_path / "whole")
    assert task.at[14] == whole.at[14]


def test_lines_come_by_time(tmp_path, monkeypatch, capsys):
    """The first step's, then one whenever it is due; a step that takes long is told, too."""
    monkeypatch.setattr(distributed, "EVERY", 0.2)
    loss = OneWeight.loss

    def slow(self, batch):
        time.sleep(0.5 if self.buffers["seen"] == 10 else 0)
        return loss(self, batch)

    monkeypatch.setattr(OneWeight, "loss", slow)
    start = time.monotonic()
    run(OneWeight(200, best=0), tmp_path)
    most = 3 + (time.monotonic() - start) / distributed.EVERY
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("step 6/200  pass 1 of 2  ")]
    assert len([line for line in lines if "eval_loss" not in line]) <= most


@pytest.mark.slow
def test_a_line_between_two_records_has_the_rate_and_the_time_left(tmp_path, monkeypatch, capsys):
    """In the first step those that were expected; while images are measured, too."""
    monkeypatch.setattr(distributed, "EVERY", 0.1)

    def slow(function):
        return lambda *args: time.sleep(0.3) or function(*args)

    for name in ("loss", "measure"):
        monkeypatch.setattr(OneWeight, name, slow(getattr(OneWeight, name)))
    run(OneWeight(3, best=0), tmp_path, step_seconds=120.0)
    lines = capsys.readouterr().out.splitlines()
    assert "step 1/3  pass 1 of 2  120.0 s a step, 6.0 min left" in lines
    measures = r"step 1/3  measures on held-out images  0\.[6-9] s a step, [12] s left"
    assert any(re.fullmatch(measures, line) for line in lines)
    told = [line for line in lines if line.startswith("step ")]
    assert all(line.endswith(" left") and " s a step, " in line for line in told)


def test_a_resume_reads_each_checkpoint_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 10, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            run(OneWeight(20, best=6), tmp_path)
    read, files = checkpoints.read, []
    monkeypatch.setattr(checkpoints, "read", lambda file: files.append(file.name) or read(file))
    run(OneWeight(20, best=6), tmp_path)
    assert files == ["checkpoint-9.safetensors"]
    assert [file.name for file in checkpoints.checkpoints(tmp_path)] == [
        "checkpoint-18.safetensors",
        "checkpoint-20.safetensors",
    ]


def test_the_loss_of_a_step_is_the_weighted_mean_of_its_micro_batches(tmp_path):
    [first, *_] = run(OneWeight(8, best=0), tmp_path).log
    assert first["loss"] == pytest.approx((2 * 0 + 1 * 1) / 3)
    assert first["target"] == 0.5
    assert first["grad_norm"] == pytest.approx(2 / 3)


def test_a_loss_that_is_not_finite_stops_and_names_the_images(unfinished, options, monkeypatch):
    weighted_loss = packing.weighted_loss
    monkeypatch.setattr(packing, "weighted_loss", lambda *args: weighted_loss(*args) * math.nan)
    with pytest.raises(InputError, match=r"step 3: the loss .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert checkpoints.read(unfinished / "checkpoint-3.safetensors")


def test_a_gradient_that_is_not_finite_stops_before_the_step(unfinished, options, monkeypatch):
    sum_gradients = distributed.sum_gradients

    def spoilt(weights):
        sum_gradients(weights)
        weights[0].grad.fill_(float("inf"))

    monkeypatch.setattr(distributed, "sum_gradients", spoilt)
    with pytest.raises(InputError, match=r"step 3: the gradient .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert checkpoints.read(unfinished / "checkpoint-3.safetensors")
