"""The accuracy table: every kind beside the majority baseline, and an interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.data import BenchmarkSample, VQABenchmarkResult
from homework.evaluation.majority import same_questions_baseline
from homework.evaluation.statistics import wilson_interval
from homework.evaluation.table import accuracy_table
from homework.labels import questions
from homework.training.curves import save_curves


def sample(question, answer, truth):
    return BenchmarkSample("p.jpg", question, answer, truth, answer == truth)


RESULT = VQABenchmarkResult(
    [
        sample(questions.COUNT, "1", "1"),
        sample(questions.COUNT, "1", "2"),
        sample(questions.COUNT, "3", "1"),
        sample(questions.TRACK, "abyss", "abyss"),
    ]
)


def test_table_has_each_kind_beside_the_majority(tmp_path):
    baseline, source = same_questions_baseline(RESULT, "train", tmp_path)
    assert source == "these questions themselves"
    lines = accuracy_table(RESULT, baseline, source).splitlines()
    assert lines[1].split() == ["count", "3", "33.3%", "6.1%", "to", "79.2%", "66.7%"]
    assert lines[2].split() == ["track", "1", "100.0%", "20.7%", "to", "100.0%", "100.0%"]
    assert lines[3].split() == ["all", "4", "50.0%", "15.0%", "to", "85.0%", "75.0%"]


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


def test_curves_are_drawn_from_the_trainers_history(tmp_path):
    log = [{"step": 10, "loss": 2.0, "accuracy": 0.1}, {"step": 10, "eval_loss": 1.9}]
    save_curves(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
