"""The majority baseline."""

from homework.evaluation.majority import majority_answers, majority_baseline, template
from homework.labels.questions import COUNT, EGO


def items(*pairs):
    return [{"image_path": "x.jpg", "question": q, "answer": a} for q, a in pairs]


def test_template_replaces_the_kart_only():
    assert template("Is left to the left or right of the ego car?") == (
        "Is {} to the left or right of the ego car?"
    )
    assert template(EGO) == EGO


def test_majority_baseline():
    side = "Is {} to the left or right of the ego car?"
    train = items(
        (side.format("tux"), "left"),
        (side.format("gnu"), "left"),
        (side.format("xue"), "right"),
        (COUNT, "2"),
        (COUNT, "1"),
    )
    assert majority_answers(train) == {side: "left", COUNT: "1"}
    result = majority_baseline(
        train, items((side.format("kiki"), "left"), (COUNT, "2"), (EGO, "tux"))
    )
    assert result.accuracy_per_kind == {
        "ego": (0.0, 1),
        "count": (0.0, 1),
        "relative position": (1.0, 1),
    }
