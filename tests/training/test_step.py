"""One optimizer step: float16 with a scaled loss, and the same result however it is computed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from trainings import stop_at

from homework import finetune
from homework.common import distributed, machine
from homework.common.errors import InputError
from homework.common.files import read_json
from homework.model import adapter_files
from homework.training import checkpoints
from homework.training.loop import SCALE, Loop
from homework.training.step import (
    COST,
    LEAST,
    SHARE,
    images_measured,
    is_stalled,
    measure_steps,
)


@pytest.fixture
def half(monkeypatch):
    """Compute in float16, as a T4 does."""
    chosen = machine.Machine("cpu", torch.float16, "cpu, float16: a test")
    monkeypatch.setattr(machine, "choose", lambda: chosen)


def losses(output) -> list[float]:
    log = read_json(output / adapter_files.STATE)["log_history"]
    return [record["loss"] for record in log if "loss" in record]


@pytest.mark.slow
def test_float16_learns_as_float32_does(options, tmp_path, monkeypatch):
    for kind in (torch.float32, torch.float16):
        chosen = machine.Machine("cpu", kind, "a test")
        monkeypatch.setattr(machine, "choose", lambda chosen=chosen: chosen)
        finetune.train(**options | {"output_dir": tmp_path / str(kind)})
    folders = [tmp_path / str(kind) for kind in (torch.float16, torch.float32)]
    assert losses(folders[0]) == pytest.approx(losses(folders[1]), rel=2e-2)
    found, expected = (
        torch.cat([w.flatten() for name, w in sorted(load_file(file).items()) if "lora_B" in name])
        for file in (folder / adapter_files.WEIGHTS for folder in folders)
    )  # they begin at 0
    assert torch.nn.functional.cosine_similarity(found, expected, 0) > 0.9


@pytest.mark.slow
def test_a_float16_run_resumes_to_the_bit(half, options, tmp_path, monkeypatch):
    finetune.train(**options | {"output_dir": tmp_path / "whole"})
    with monkeypatch.context() as patch:
        stop_at(patch, 2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options)
    saved = checkpoints.newest(tmp_path / "out")[1].record["scaler"]
    assert saved["scale"] > 1 and saved["_growth_tracker"] == 2
    finetune.train(**options)
    files = [tmp_path / name / adapter_files.WEIGHTS for name in ("whole", "out")]
    assert files[0].read_bytes() == files[1].read_bytes()


def overflowing(monkeypatch, steps: int) -> list[float]:
    """Make the gradients of the first `steps` steps infinite; the norms that were recorded."""
    sum_gradients, seen = distributed.sum_gradients, []

    def spoilt(weights):
        sum_gradients(weights)
        seen.append(1)
        if len(seen) <= steps:
            weights[0].grad.fill_(float("inf"))

    monkeypatch.setattr(distributed, "sum_gradients", spoilt)
    return seen


def test_a_float16_step_that_overflows_changes_nothing_and_the_run_goes_on(
    half, options, tmp_path, monkeypatch
):
    before: list[tuple[torch.Tensor, float]] = []  # the weights and the scale before each step
    take = Loop._optimizer_step

    def watched(self, *args):
        weights = torch.cat([w.detach().flatten() for w in self.task.weights.values()])
        before.append((weights.clone(), self.scaler.get_scale()))
        return take(self, *args)

    monkeypatch.setattr(Loop, "_optimizer_step", watched)
    overflowing(monkeypatch, 2)
    finetune.train(**options)
    same = [torch.equal(a, b) for (a, _), (b, _) in pairwise(before)]
    assert same == [True, True, False]
    assert [scale for _, scale in before] == [SCALE, SCALE / 2, SCALE / 4, SCALE / 4]
    first = read_json(tmp_path / "out" / adapter_files.STATE)["log_history"][0]
    assert "loss" in first and "grad_norm" not in first


@pytest.mark.slow
def test_a_float16_run_that_never_stops_overflowing_ends_with_a_line(half, options, monkeypatch):
    overflowing(monkeypatch, 99)
    with pytest.raises(InputError, match=r"the gradient .*im.jpg"):
        finetune.train(**options | {"max_steps": 30})


@pytest.mark.slow
def test_processes_that_decode_change_no_bit(options, finished_run, tmp_path):
    finetune.train(**options | {"num_workers": 2})
    files = [folder / adapter_files.WEIGHTS for folder in (tmp_path / "out", finished_run)]
    assert files[0].read_bytes() == files[1].read_bytes()


@given(st.integers(1, 20_000), st.integers(1, 256))
def test_all_measurements_take_a_small_share_of_a_run(steps, images):
    each = images_measured(steps, images)
    measurements = -(-steps // measure_steps(steps))
    assert each == LEAST or COST * each * measurements <= SHARE * steps * images + 1e-6
    assert each >= LEAST


def log(*accuracies: float) -> list[dict[str, float]]:
    return [{"loss": 1.0}, *({"eval_accuracy": each} for each in accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "stalled"),
    [
        ((), False),
        ((0.5, 0.6, 0.7), False),
        ((0.7, 0.6), False),
        ((0.7, 0.6, 0.7), True),  # to equal is no rise
        ((0.1, 0.7, 0.6, 0.8), False),
        ((0.1, 0.8, 0.6, 0.7), True),
    ],
)
def test_a_run_is_stalled_after_so_many_measurements_without_a_rise(accuracies, stalled):
    assert is_stalled(log(*accuracies), 2) == stalled
    assert not is_stalled(log(*accuracies), 0)
