"""A class that was written for other versions of the packages, and what its table says."""

from __future__ import annotations

import json
import sys

import pytest
from fake_submission import GOOD, make_zip

from grader import interpreter
from grader.__main__ import main

CLASS = "cannot import name 'AutoModelForVision2Seq' from 'transformers'"
OLD = GOOD | {"vlm.py": f'raise ImportError("{CLASS}")'}


@pytest.fixture
def graded_class(place, capsys):
    """Grade three submissions as the command does: (output, grades.json, the page)."""
    folder, output = place / "class", place / "grades.csv"
    folder.mkdir()

    def run(*options: str) -> tuple[str, dict, str]:
        arguments = ["--data_dir", str(place / "data"), "--jobs", "1", "--memory", "1"]
        command = ["class", str(folder), "--output", str(output), *arguments, *options]
        assert main(command) == 0
        page = output.with_suffix(".html").read_text()
        return capsys.readouterr().out, json.loads(output.with_suffix(".json").read_text()), page

    run.folder = folder
    return run


def test_a_cause_that_failures_share_is_a_group_with_its_cure(graded_class):
    make_zip(graded_class.folder / "good.zip")
    make_zip(graded_class.folder / "ann.zip", OLD)
    make_zip(graded_class.folder / "bob.zip", OLD | {"other.py": ""})
    out, _, page = graded_class()
    assert "2  made for other versions of the packages" in out
    assert "made for other versions of the packages" in page
    assert "grade with the course&#39;s versions (--course)" in page


def test_the_python_is_among_what_a_result_depends_on(graded_class, monkeypatch):
    monkeypatch.setattr(interpreter, "FOR_SUBMISSIONS", ())
    make_zip(graded_class.folder / "good.zip")
    _, before, _ = graded_class()
    _, after, _ = graded_class("--resume", "--python", sys.executable)
    settings = before["settings"]
    assert settings["python"] == interpreter.own().python and settings == after["settings"]
    assert settings["packages"] == interpreter.own().versions
