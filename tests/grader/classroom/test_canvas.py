"""Canvas: scores filled into an exported gradebook, and nothing else in it changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_submission import make_zip

from grader.__main__ import main
from grader.classroom.canvas import Gradebook
from grader.errors import GraderError

# As Canvas writes it: a row of points below the columns, and a test student at the end.
EXPORT = """\
\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Homework 4 (777),Exam (778),Final Score
    Points Possible,,,,,100.00,50.00,(read only)
"Doe, Jane",12,u1,jd42,"A, B",,40,80
"Roe, Rob",13,u2,rr7@x.edu,A,12,41,81
"Poe, Pat",14,u3,pp1,A,33,42,82
"Twin, Ann",15,u4,twin@x.edu,A,,1,1
"Twin, Bob",16,u5,twin@y.edu,A,,1,1
"Student, Test",17,,f00,A,,,
"""


def row(total, file="x.zip", user="", id="nobody") -> dict:
    return {"total": total, "file": file, "canvas_user": user, "ID": id}


@pytest.fixture
def export(tmp_path) -> Path:
    path = tmp_path / "export.csv"
    path.write_bytes(EXPORT.replace("\n", "\r\n").encode())
    return path


def test_only_the_scores_of_the_submissions_change(export):
    filled = Gradebook(export, "Homework 4").fill(
        [
            row(105.0, "doe_12_1_a.zip", user="12"),
            row(71.43, "rr7.zip", id="RR7"),
            row(1.0, "stranger.zip", id="stranger"),
            row(2.0, "doe_99_1_a.zip", user="99"),
            row(3.0, "twin.zip", id="twin"),
            row(None, "pp1.zip", id="pp1"),
            row(4.0, "jd42.zip", id="jd42"),
        ]
    )
    changed = EXPORT.replace('A, B",,40', 'A, B",105,40').replace("A,12,41", "A,71.43,41")
    assert filled.text == changed.replace("\n", "\r\n")
    assert filled.count == 2 and filled.points_possible == "100.00"
    assert filled.without_submission == [
        "Poe, Pat", "Twin, Ann", "Twin, Bob", "Student, Test"
    ]  # fmt: skip
    assert filled.without_row == [
        "stranger.zip", "doe_99_1_a.zip", "twin.zip", "pp1.zip", "jd42.zip"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Homework 4", "777", "Homework 4 (777)"])
def test_the_assignment_is_named_in_any_of_three_ways(export, name):
    assert Gradebook(export, name).fill([row(9.5, user="14")]).text == EXPORT.replace(
        "A,33,42", "A,9.5,42"
    ).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("text", "assignment", "message"),
    [
        (EXPORT, None, "more than one assignment; give --assignment"),
        (EXPORT, "Homework", "no assignment named 'Homework'; .*Homework 4 \\(777\\); Exam"),
        ("a,b\n", None, "no columns 'Student' and 'ID'"),
        ("", None, "no columns"),
        ("Student,ID\n", None, "no assignment; give --assignment .*: none"),
    ],
)
def test_what_is_no_gradebook_is_refused(tmp_path, text, assignment, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(GraderError, match=message):
        Gradebook(tmp_path / "x.csv", assignment)


def test_the_command_writes_a_gradebook_for_upload(place, export, capsys):
    (place / "class").mkdir()
    make_zip(place / "class" / "doejane_12_1_own.zip")
    make_zip(place / "class" / "stranger.zip")
    command = ["class", str(place / "class"), "--output", str(place / "grades.csv"), "--jobs", "1"]
    command += ["--data_dir", str(place / "data"), "--format", "canvas", "--assignment", "777"]
    assert main([*command, "--gradebook", str(export)]) == 0
    out = capsys.readouterr().out
    assert (place / "grades.canvas.csv").read_bytes().decode() == EXPORT.replace(
        'A, B",,40', 'A, B",105,40'
    ).replace("\n", "\r\n")
    assert "grades.canvas.csv: 1 scores\n" in out
    assert "left as they are: 5\n    Roe, Rob\n" in out
    assert "not in the gradebook, or have no score: 1\n    stranger.zip\n" in out
    with pytest.raises(SystemExit):
        main(command)
    assert "belong together" in capsys.readouterr().err
