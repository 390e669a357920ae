"""Shares of right answers and their confidence intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.common.accuracy import Accuracy, wilson_interval


def test_a_row_has_the_counts_the_accuracy_and_its_interval():
    row = Accuracy.count("ego", [True] * 8 + [False] * 2).row()
    assert (row["label"], row["right"], row["total"], row["accuracy"]) == ("ego", 8, 10, 0.8)
    assert (row["low"], row["high"]) == wilson_interval(0.8, 10)


def test_interval_is_wilsons():
    # The example of the method's usual tables: 8 of 10.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)


@given(st.integers(1, 5000), st.data())
def test_interval_holds_the_share_and_narrows(total, data):
    share = data.draw(st.integers(0, total)) / total
    low, high = wilson_interval(share, total)
    assert 0 <= low <= share + 1e-9 and share - 1e-9 <= high <= 1
    again_low, again_high = wilson_interval(share, 4 * total)
    assert again_high - again_low < high - low
