"""Canvas: scores filled into an exported gradebook, and nothing else in it changed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from fake_submission import make_zip
from hypothesis import given
from hypothesis import strategies as st

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


def cells(content: str, separator: str = ",") -> list[list[str]]:
    return [*csv.reader(io.StringIO(content, newline=""), delimiter=separator)]


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
    assert cells(filled.content.decode()) == cells(changed)
    assert filled.count == 2 and filled.points_possible == "100.00"
    assert filled.without_submission == [
        "Poe, Pat", "Twin, Ann", "Twin, Bob", "Student, Test"
    ]  # fmt: skip
    assert filled.without_row == [
        "stranger.zip", "doe_99_1_a.zip", "twin.zip", "pp1.zip", "jd42.zip"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Homework 4", "777", "Homework 4 (777)"])
def test_the_assignment_is_named_in_any_of_three_ways(export, name):
    filled = Gradebook(export, name).fill([row(9.5, user="14")])
    assert cells(filled.content.decode()) == cells(EXPORT.replace("A,33,42", "A,9.5,42"))


def written(text: str, separator: str, quoted: bool) -> str:
    """The gradebook with another separator, without a mark."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    out = io.StringIO()
    csv.writer(
        out, delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    ).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_gradebook_keeps_its_own_form(tmp_path, separator, quoted, encoding):
    number = "9,5" if separator == ";" else "9.5"
    before = EXPORT.replace("Poe, Pat", "Pöe, Pat").replace(".00", "")
    after = before.replace("A,33,42", f'A,"{number}",42')
    path = tmp_path / "export.csv"
    path.write_bytes(written(before, separator, quoted).encode(encoding))
    filled = Gradebook(path, "777").fill([row(9.5, id="PP1")])
    expected = written(after, separator, quoted)
    assert cells(filled.content.decode(encoding), separator) == cells(expected, separator)
    assert "Pöe, Pat" not in filled.without_submission


def test_a_gradebook_of_a_semicolon_locale(tmp_path):
    text = (
        "Student;ID;SIS User ID;SIS Login ID;Section;Homework 4 (777);Final Score\n"
        "    Points Possible;;;;;100;(read only)\n"
        '"One, Student";1001;u1;ab1;S;;\n'
        '"Zwei, Studentin ü";1002;u2;jm2@x.edu;S;50,5;\n'
        '"三, 学生";1003;u3;ll3;S'
    )
    path = tmp_path / "export.csv"
    path.write_text(text)
    filled = Gradebook(path, None).fill([row(71.43, id="ab1"), row(5, id="ll3")])
    expected = text.replace("ab1;S;;", "ab1;S;71,43;") + ";5"
    assert cells(filled.content.decode(), ";") == cells(expected, ";")
    path.write_text(text.replace("50,5", "50.5"))
    assert b";71.43;" in Gradebook(path, None).fill([row(71.43, id="ab1")]).content
    path.write_text(text.replace(";", "\t"))
    assert b"\t71,43\t" in Gradebook(path, None).fill([row(71.43, id="ab1")]).content


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_column_may_have_more_commas_than_there_are_separators(tmp_path, separator):
    path = tmp_path / "export.csv"
    text = EXPORT.replace("Homework 4", '"Homework 4, a, b, c, d, e, f, g, h').replace(
        "777)", '777)"'
    )
    path.write_text(written(text, separator, False))
    assert Gradebook(path, "777").fill([row(5, user="12")]).count == 1


@given(st.lists(st.text(st.sampled_from('a;,\t"\n\r x9.'), max_size=5), min_size=6, max_size=6))
def test_the_other_cells_stay_whatever_they_hold(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("book") / "export.csv"
    table = [["Student", "ID", "SIS Login ID", "Homework (7)"], ["A", "1", "ab1", "x"]]
    table += [[texts[0], "2", *texts[1:]], [texts[0], "", "Test", "3"]]
    out = io.StringIO()
    csv.writer(out).writerows(table)
    path.write_text(out.getvalue(), newline="")
    table[1][3] = "5.5"
    assert cells(Gradebook(path, None).fill([row(5.5, user="1")]).content.decode()) == table


def test_logins_come_before_the_part_before_an_at(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Homework 4 (777)\n"
        "A,1,u1,bob,\nB,2,u2,bob-1,\nC,3,u3,Bob@x.edu,\nD,4,bob,Ann,\nE,5,u5,ann,\n"
    )
    book = Gradebook(path, None)
    names = ("bob", "bob-1", "BOB", "bob@x.edu", "u1", "Ann", "ann", "ANN", "", "carl")
    assert [book.user(name) for name in names] == ["1", "2", "1", "3", "1", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("text", "assignment", "message"),
    [
        (EXPORT, None, "more than one assignment; give --assignment"),
        (EXPORT, "Homework", "no assignment named 'Homework'; .*Homework 4 \\(777\\); Exam"),
        ("a,b\n", None, "no columns 'Student' and 'ID'"),
        ("\0S\0t\0u", None, "no columns 'Student' and 'ID'"),
        ("x" * 200_000, None, "is no CSV file"),
        (EXPORT + '"Open, 18,\n"Doe, Bob",19,\n', "777", "is no CSV file"),
        (EXPORT + f"{'x' * 200_000},18,,,,,,\n", "777", "is no CSV file .*field larger"),
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
    command += ["--names", "canvas"]
    assert main([*command, "--gradebook", str(export)]) == 0
    out = capsys.readouterr().out
    expected = cells(EXPORT.replace('A, B",,40', 'A, B",105,40'))
    assert cells((place / "grades.canvas.csv").read_bytes().decode()) == expected
    assert "grades.canvas.csv: 1 scores\n" in out
    assert "left as they are: 5\n    Roe, Rob\n" in out
    assert "not in the gradebook, or have no score: 1\n    stranger.zip\n" in out
    with pytest.raises(SystemExit):
        main(command)
    assert "belong together" in capsys.readouterr().err
