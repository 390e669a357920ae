"""What a report says of its run: recipe and curves, as far as they can be read."""

import json

import pytest

from homework.evaluation.report import MAX_POINTS, about_adapter
from homework.inspection.figures import curves
from homework.model import adapter, adapter_files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    for name in adapter_files.FILES:
        (tmp_path / "run" / name).write_text("{}")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "text", [None, "", "[]", "3", '{"log_history": 3}', '{"log_history": [3]}']
)
def test_a_damaged_log_leaves_the_curves_out(folder, text):
    if text is not None:
        (folder / adapter_files.STATE).write_text(text)
    about = about_adapter(adapter.Record(folder, "base", None, {}), folder.parent)
    assert not any(about["curves"].values()) and about["recipe"] == {"base": "base"}


def test_long_curves_are_thinned_and_numbers_are_those_that_json_has(folder):
    log = [{"step": step, "loss": 1.0} for step in range(10 * MAX_POINTS)]
    log += [{"step": 7, "eval_loss": float("nan")}, {"loss": 2.0}]
    (folder / adapter_files.STATE).write_text(json.dumps({"log_history": log}))
    training = {"seed": 1, "rate": float("nan"), "list": [1]}
    about = about_adapter(adapter.Record(folder, "/private/base", None, training), folder.parent)
    assert about["recipe"] == {"seed": 1, "base": "base"}
    assert len(about["curves"]["loss"]["training"]) == MAX_POINTS
    assert list(about["curves"]["loss"]) == ["training"]
    json.dumps(about, allow_nan=False)


def test_curves_are_named_and_grouped():
    log = [
        {"step": 10, "loss": 2.0, "accuracy": 0.1},
        {"step": 20, "eval_loss": 1.5, "eval_accuracy": 0.2, "held-out ego": 0.3},
    ]
    assert curves(log) == {
        "loss": {"training": [(10, 2.0)], "held-out train frames": [(20, 1.5)]},
        "accuracy": {"training": [(10, 0.1)], "held-out train frames": [(20, 0.2)]},
        "held-out accuracy by kind": {"ego": [(20, 0.3)]},
    }
