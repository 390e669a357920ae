"""Agreement with the course's own grader: the same verdict, or a line that says the other one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from course_styles import STYLES, Style, table, zipped
from fake_submission import ADAPTER, GOOD, make_zip, write_data, write_files
from grading import failure

import bundle
from grader import course
from grader.process import Child
from grader.reasons import advice
from homework.data import benchmark

HERE = Path(__file__).resolve().parents[1]  # the folder of the tests
DOCS = HERE.parent / "docs" / "grading.md"


def write_zip(path: Path, style: Style) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in style.entries:
            archive.writestr(name, text)
    return path


# The table


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_style_gets_its_verdict_and_its_line(place, graded, style):
    write_data(place / "data", 40)
    out, result = graded(write_zip(place / "ID.zip", style))
    refused = any(case["status"] == "failed" for case in result["cases"])
    assert (None if refused else result["total"]) == style.here, out
    lines = re.findall(r"^    the course's grader .*$", out, re.MULTILINE)
    assert len(lines) == (style.line is not None), out
    assert not style.line or re.search(style.line, lines[0])
    assert [line.strip() for line in lines] == [
        remark for case in result["cases"] for remark in case["remarks"]
    ]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_courses_verdict_is_what_its_rules_give(tmp_path, style):
    path, data = write_zip(tmp_path / "ID.zip", style), write_data(tmp_path / "data", 40)
    command = [sys.executable, "-B", str(HERE / "course_rules.py"), str(path), str(data)]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(out).get("points") == style.course, out


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_where_the_verdicts_differ_a_line_says_so(style):
    assert style.course == style.here or style.line


def test_the_documentation_shows_the_table():
    assert table() in DOCS.read_text()


# Batches


class Noted:
    """Answers "0" and notes how many questions each call has, and which."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def answer(self, image_paths, questions):
        self.calls.append(list(questions))
        return ["0"] * len(questions)


@pytest.mark.parametrize(("batch_size", "sizes"), [({}, [32, 32, 6]), ({"batch_size": None}, [70])])
def test_benchmark_asks_32_questions_at_a_time_in_their_order(batch_size, sizes):
    asked = [str(number) for number in range(70)]
    model = Noted()
    items = [{"image_path": "x.jpg", "question": q, "answer": "0"} for q in asked]
    assert benchmark(model, items, **batch_size).accuracy == 1
    assert [len(call) for call in model.calls] == sizes
    assert [question for call in model.calls for question in call] == asked


def test_a_model_that_needs_memory_for_each_question_of_a_call_passes(place, graded, monkeypatch):
    """128 at once would take 1.3 GB."""
    monkeypatch.setattr("grader.usage.MEMORY_LIMIT_BYTES", 500_000_000)
    write_data(place / "data", 128)
    vlm = dict(zipped())["homework/vlm.py"].replace(
        "assert len(questions) <= 32", "held = [bytearray(10_000_000) for _ in questions]; assert 1"
    )
    out, result = graded(write_zip(place / "ID.zip", Style("", zipped(vlm=vlm), 105, 105)))
    assert result["total"] == 105, out


# The score


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("left kart", "left", True),
        ("10", "1", True),
        ("1", "10", False),
        (" Front and Left\n", "front and left", True),
        ("the left", "left", False),
        ("", "left", False),
    ],
)
def test_the_courses_check(answer, expected, right):
    assert course.is_correct(answer, expected) is right


def test_the_result_holds_the_courses_score(graded):
    answers = "['1 kart', '1', '2', '3', '4', '55', 'x', 'x', 'x', 'x']"
    body = f"class Model:\n    def answer(self, *_):\n        return {answers}\n"
    out, result = graded(GOOD | {"vlm.py": body + "def load_vlm():\n    return Model()\n"})
    assert result["accuracy"] == 0.4
    assert result["course"].pop("seconds") < 30
    assert result["course"] == {
        "accuracy": 0.5, "total": pytest.approx(50 / 0.7), "differently": 1
    }  # fmt: skip
    assert "course's grader would give 71.4 points (50.0%)" in out


def test_without_answers_there_is_no_score_of_the_courses(graded):
    assert graded(GOOD | {"__init__.py": "1 / 0"})[1]["course"] is None


# Time


def test_both_times_are_said(graded, monkeypatch):
    """The course counts the import of torch and others, too; here one that takes a second."""
    monkeypatch.setattr(Child, "_import_packages", lambda self: setattr(self, "import_s", 100.0))
    out, result = graded()
    own, course_s = re.search(
        r"([\d.]+) s of 60 s \(([\d.]+) s with imports, as the course counts", out
    ).groups()
    assert float(own) < 60 < 100 <= float(course_s) == result["course"]["seconds"]
    assert result["total"] == 105
    assert re.search(r"would give 0 points if its machine is as fast: .* 100\.\d s of 60 s", out)
    assert "0 points (the course's grader would give 0 points if" in course.verdict(result)


def test_within_the_time_there_is_no_line():
    assert course.of_time(60, 60) == [] and len(course.of_time(60.1, 60)) == 1


# The verdict


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_verdict_is_the_one_of_the_courses_rules(place, graded, style):
    write_data(place / "data", 40)
    verdict = course.verdict(graded(write_zip(place / "ID.zip", style))[1])
    assert verdict.startswith("By the course's rules, with transformers ")
    expected = (
        ": 0 points (" if style.course is None else f": {style.course:.1f} of 105 points, in "
    )
    assert expected in verdict


# Reasons


OFFLINE = (
    "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find "
    "them in the cached files. Check your internet connection or see how to run the library in "
    "offline mode at 'https://huggingface.co/docs/transformers/installation#offline-mode'."
)


@pytest.mark.parametrize(
    ("message", "details", "expected"),
    [
        (
            "ImportError: cannot import name 'AutoModelForVision2Seq' from 'transformers' (/x)",
            "",
            r"AutoModelForVision2Seq \(installed: [\d.]+\): grade with .*--course\), or use Auto",
        ),
        ("AttributeError: module transformers has no attribute AutoModelForVision2Seq", "", "use "),
        ("ModuleNotFoundError: No module named 'torchvision'", "", "torchvision is not installed"),
        (
            "ImportError: SmolVLMVideoProcessor requires the Torchvision library but it was not "
            "found in your environment.",
            "",
            "torchvision is not installed",
        ),
        (OFFLINE, "", "base_vlm download HuggingFaceTB/SmolVLM-256M-Instruct once"),
        (OFFLINE, "model = AutoModelForVision2Seq.from_pretrained(name)", "offline on purpose"),
        (OFFLINE, 'load("HuggingFaceTB/SmolVLM-500M-Instruct")', "HuggingFaceTB/SmolVLM-500M"),
        ("LocalEntryNotFoundError: Cannot find an appropriate", "", "offline on purpose"),
        ("ModuleNotFoundError: No module named 'homework'", "", "has another name"),
    ],
)  # fmt: skip
def test_a_frequent_failure_is_followed_by_what_to_do(message, details, expected):
    assert re.search(expected, advice(message, details))


@pytest.mark.parametrize("message", ["KeyError: 'x'", "No module named 'homework_extra'", ""])
def test_other_failures_have_no_advice(message):
    assert advice(message) is None


def test_the_advice_is_part_of_the_reason(graded):
    init = "raise ImportError(\"cannot import name 'AutoModelForVision2Seq' from 'transformers'\")"
    out, result = graded(GOOD | {"__init__.py": init})
    detail = failure(result, out)[1]
    assert "(homework/__init__.py, line 1); transformers 5 has no AutoModelForVision2Seq" in detail


# What bundle.py writes


def test_bundle_makes_no_zip_that_the_course_refuses(place, graded, monkeypatch, capsys):
    beside = {"__MACOSX/._homework": "", "data/train/x.json": "", "hw4/__init__.py": ""}
    inside = {"__MACOSX/._vlm.py": "", "data/valid/x.json": "{}"}
    write_files(place, beside)
    write_files(place / "homework", GOOD | ADAPTER | inside)
    monkeypatch.chdir(place)
    assert bundle.main(["homework", "ID"]) == 0
    capsys.readouterr()
    names = zipfile.ZipFile("ID.zip").namelist()
    assert {name.split("/")[0] for name in names} == {"homework"}
    assert len(set(names)) == len(names) and "homework/__MACOSX/._vlm.py" not in names
    out, result = graded(place / "ID.zip")
    assert "the course's grader" not in out and result["total"] == 105


def test_a_good_zip_has_no_line(place, graded):
    assert "the course's grader" not in graded(make_zip(place / "ID.zip"))[0]
