"""What fine-tuning trains: the rates of its steps, and its first one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from trainings import SMALL

from homework import finetune
from homework.model import adapter_files
from homework.training.task import schedule


@given(st.integers(1, 5000))
def test_every_step_learns_and_the_peak_is_reached(steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    share = schedule(optimizer, steps)
    rates = [share(step) for step in range(steps)]
    assert min(rates) > 0 and max(rates) == pytest.approx(1)
    top = rates.index(max(rates))
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)


def test_a_training_of_one_step_learns(base, sample_data, tmp_path):
    output = tmp_path / "out"
    finetune.train(sample_data, output_dir=output, base=base, max_steps=1, **SMALL)
    weights = load_file(output / adapter_files.WEIGHTS)
    changed = [weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name]
    assert changed and all(changed)  # PEFT begins with zeros
