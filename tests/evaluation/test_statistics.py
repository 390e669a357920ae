"""What answers add up to: shares by class, confusions, calibration, two models held together."""

import math

import pytest

from homework.data import BenchmarkSample, VQABenchmarkResult
from homework.evaluation import statistics
from homework.evaluation.measure import same_questions_baseline
from homework.evaluation.statistics import Outcome, accuracy_table
from homework.labels import questions
from homework.labels.questions import kind_of
from homework.labels.scene import Kart, make_scene

SCENE = make_scene(
    "abyss", (Kart("tux", (60, 40, 90, 60)), Kart("gnu", (0, 0, 6, 9)), Kart("xue", (0, 0, 9, 9)))
)


def outcome(question, answer, truth, **more):
    values = {"image_file": "valid/0_00_im.jpg", "scene": SCENE, "seen": None, **more}
    return Outcome(values.pop("image_file"), question, kind_of(question), answer, truth,
                   answer == truth, **values)  # fmt: skip


FRONT_GNU = questions.FRONT_OR_BEHIND.format("gnu")
OUTCOMES = [
    outcome(questions.EGO, "tux", "tux", seen=True, probabilities=(("tux", 0.9), ("gnu", 0.1))),
    outcome(questions.EGO, "gnu", "tux", seen=False, probabilities=(("gnu", 0.6), ("tux", 0.4))),
    outcome(FRONT_GNU, "front", "front", seen=True),
    outcome(questions.COUNT, "3", "3"),
    outcome(questions.TRACK, "abyss", "abyss", scene=None),
    outcome("Free?", "yes", "no", scene=None),
]


def test_breakdowns_by_size_number_of_karts_and_training():
    found = statistics.breakdowns(OUTCOMES)
    assert found["size"] == {
        "all": [("5-7", 1, 1), ("18-29", 1, 2)],
        "ego": [("18-29", 1, 2)],
        "relative position": [("5-7", 1, 1)],
    }
    assert found["karts"]["all"] == [("3", 3, 4)]
    assert found["karts"]["count"] == [("3", 1, 1)]
    assert found["seen"]["ego"] == [("seen", 1, 1), ("unseen", 0, 1)]
    assert "count" not in found["seen"]


def test_seen_is_of_the_kart_asked_about_on_its_track():
    training = frozenset({("abyss", "tux")})
    for kart, expected in (("tux", True), ("gnu", False), (None, None)):
        assert statistics.seen_in_training(SCENE, kart, training) is expected
    assert statistics.seen_in_training(SCENE, "tux", None) is None
    assert statistics.asked_kart(questions.EGO, "tux", "ego") == "tux"
    assert statistics.asked_kart(FRONT_GNU, "front", "relative position") == "gnu"
    assert statistics.asked_kart(questions.COUNT, "3", "count") is None


def test_confusion_counts_truths_by_row_and_sorts_numbers_by_value():
    answers = [outcome(questions.COUNT, answer, truth) for truth, answer in ("12", "11", "22")]
    answers.append(outcome(questions.COUNT, "10", "2"))
    found = statistics.confusion(answers, "count")
    assert found["labels"] == ["1", "2", "10"]
    assert found["counts"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_confusion_has_one_column_for_all_answers_that_no_question_of_the_kind_has():
    answers = [outcome(questions.COUNT, answer, "2") for answer in ("two", "I see 2", "3", "2")]
    answers.append(outcome(questions.COUNT, " 4. ", "4")._replace(right=True))
    found = statistics.confusion(answers, "count")
    assert found["labels"] == ["2", "3", "4", "another answer"]
    assert found["counts"] == [[1, 1, 0, 2], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_calibration_is_the_mean_distance_of_claim_and_truth():
    found = statistics.calibration(OUTCOMES)
    assert [(row["probability"], row["accuracy"]) for row in found["bins"]] == [(0.6, 0), (0.9, 1)]
    assert found["error"] == pytest.approx((0.6 + 0.1) / 2)
    assert statistics.calibration(OUTCOMES[2:]) is None


def test_two_models_are_compared_question_by_question():
    before = {
        (OUTCOMES[0].image_file, questions.EGO): {"answer": "gnu", "right": False},
        (OUTCOMES[2].image_file, FRONT_GNU): {"answer": "front", "right": True},
        ("elsewhere", questions.EGO): {"answer": "x", "right": False},
    }
    found = statistics.compare([OUTCOMES[0], OUTCOMES[2], OUTCOMES[3]], before)
    assert found["only_now"] == 1 and found["only_before"] == 1
    assert found["kinds"][0] == {
        "label": "ego", "total": 1, "before": 0, "now": 1, "fixed": 1, "broken": 0, "p": 1.0,
    }  # fmt: skip
    assert found["kinds"][-1]["total"] == 2


def test_the_sign_test_is_the_binomials():
    # 1 of 10 the other way: 2 (1 + 10) / 1024.
    assert statistics.sign_test(9, 1) == pytest.approx(22 / 1024)
    assert statistics.sign_test(0, 0) == 1
    assert statistics.sign_test(5, 5) == 1
    assert math.isclose(statistics.sign_test(3000, 1000), statistics.sign_test(1000, 3000))


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
