"""The accuracy table: every kind beside the majority baseline, and an interval."""

from homework.data import BenchmarkSample, VQABenchmarkResult
from homework.evaluation.majority import same_questions_baseline
from homework.evaluation.table import accuracy_table
from homework.labels import questions


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
