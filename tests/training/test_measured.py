"""How often and on how much a run is measured, and when it ends early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.training.measured import (
    COST,
    LEAST,
    SHARE,
    is_stalled,
    measure_steps,
    pictures_measured,
)


@given(st.integers(1, 20_000), st.integers(1, 256))
def test_all_measurements_take_a_small_share_of_a_run(steps, pictures):
    each = pictures_measured(steps, pictures)
    measurements = -(-steps // measure_steps(steps))
    assert each == LEAST or COST * each * measurements <= SHARE * steps * pictures + 1e-6
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
