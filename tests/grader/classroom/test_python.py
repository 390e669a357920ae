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


def test_a_cause_that_failures_share_is_said_once_with_the_command_that_cures_it(graded_class):
    make_zip(graded_class.folder / "good.zip")
    make_zip(graded_class.folder / "ann.zip", OLD)
    make_zip(graded_class.folder / "bob.zip", OLD | {"other.py": ""})
    out, table, page = graded_class()
    (note,) = table["notes"]
    assert note.startswith("2 of 3 submissions are made for other versions of the packages")
    command = f"python3 -m grader class {graded_class.folder} --output "
    assert command in note and note.endswith("--course --resume")
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


def row(group: str, reason: str = "") -> dict:
    return {"group": group, "reason": reason}


VERSIONS = {"transformers": "5.23.0", "torch": "2.13.0"}


@pytest.mark.parametrize(
    "rows", [[], [row(reasons.GRADED)] * 9, [row(reasons.VERSIONS)], [row("an import fails")] * 5]
)
def test_what_is_no_shared_cause_of_the_environment_has_no_note(rows):
    assert reasons.shared(rows, VERSIONS, ["again"]) == []


def test_the_cure_takes_the_place_of_another_python():
    again = ["again", "--python", "/my env/python", "--resume", "--output", "x.csv"]
    (note,) = reasons.shared([row(reasons.VERSIONS)] * 2, VERSIONS, again)
    assert note.endswith("with the course's: again --output x.csv --course --resume")


def test_with_the_courses_versions_already_another_cure_is_named():
    (note,) = reasons.shared([row(reasons.VERSIONS)] * 2, VERSIONS, ["again", "--course"])
    assert note.endswith("give --python the Python of an environment that has them")


def test_weights_that_many_lack_are_named_with_the_command_that_fetches_them():
    lines = [
        row(reasons.WEIGHTS, "run python -m homework.base_vlm download HuggingFaceTB/A once"),
        row(reasons.WEIGHTS, "run python -m homework.base_vlm download HuggingFaceTB/B once"),
    ]
    (note,) = reasons.shared(lines, VERSIONS, ["again"])
    assert note.startswith(
        "2 of 2 submissions need weights that are not in this machine's hub cache"
    )
    assert "download HuggingFaceTB/A" in note and "download HuggingFaceTB/B" in note
