"""A class that was written for other versions of the packages, and what its table says."""

from __future__ import annotations

import json
import sys

import pytest
from fake_submission import GOOD, make_zip

from grader import interpreter, reasons
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


def test_a_cause_that_failures_share_is_said_once_with_its_cure(graded_class):
    make_zip(graded_class.folder / "good.zip")
    make_zip(graded_class.folder / "ann.zip", OLD)
    make_zip(graded_class.folder / "bob.zip", OLD | {"other.py": ""})
    out, table, page = graded_class()
    (note,) = table["notes"]
    assert note.startswith("2 of 3 submissions are made for other versions of the packages")
    assert "--course takes the course's versions" in note
    assert out.count(note) == 1 and out.index(note) < out.index("mean total")
    assert page.count("2 of 3 submissions are made for other versions") == 1
    assert page.index("2 of 3 submissions") < page.index("Totals")


def test_the_python_is_among_what_a_result_depends_on(graded_class, monkeypatch):
    monkeypatch.setattr(interpreter, "FOR_SUBMISSIONS", ())
    make_zip(graded_class.folder / "good.zip")
    _, before, _ = graded_class()
    _, after, _ = graded_class("--resume", "--python", sys.executable)
    settings = before["settings"]
    assert settings["python"] == interpreter.own().python and settings == after["settings"]
    assert settings["packages"] == interpreter.own().versions


def row(group: str) -> dict:
    return {"group": group}


VERSIONS = {"transformers": "5.23.0", "torch": "2.13.0"}


@pytest.mark.parametrize(
    "rows", [[], [row(reasons.GRADED)] * 9, [row(reasons.VERSIONS)], [row("an import fails")] * 5]
)
def test_what_is_no_shared_cause_of_the_environment_has_no_note(rows):
    assert reasons.shared(rows, VERSIONS) == []


def test_both_causes_are_told_with_what_the_environment_has():
    rows = [row(reasons.WEIGHTS), row(reasons.VERSIONS)] * 2
    versions, weights = reasons.shared(rows, VERSIONS)
    assert "2 of 4 submissions" in versions and "(transformers 5.23.0, torch 2.13.0)" in versions
    assert weights.startswith("2 of 4 submissions need weights that are not in this machine's hub")
