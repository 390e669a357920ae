"""Whose submission a file is, by its name."""

from __future__ import annotations

import zipfile
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.classroom.names import Classroom, _read_name, hours_late
from grader.errors import GraderError

DATE = datetime(2026, 10, 2, 1, 30)


def read(name: str):
    return _read_name(name, DATE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jd42.zip", ("jd42", "", "", False)),
        ("jd_42-7.ZIP", ("jd_42-7", "", "", False)),
        ("doejane_12345_67890_jd42.zip", ("jd42", "doejane", "12345", False)),
        ("doejane_LATE_12345_67890_jd42.zip", ("jd42", "doejane", "12345", True)),
        ("doejane_late_12345_67890_jd42-1.zip", ("jd42", "doejane", "12345", True)),
        ("doejane_12345_67890_jd42-12.zip", ("jd42", "doejane", "12345", False)),
        ("group_a_5_6_my_zip_7.zip", ("my_zip_7", "group_a", "5", False)),
        ("sub/doejane_5_6_report.pdf", ("report", "doejane", "5", False)),
    ],
)
def test_a_name_tells_id_student_number_and_lateness(name, expected):
    found = read(name)
    assert (found.id, found.student, found.user, found.late) == expected


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.zip", "__MACOSX/jd42.zip", "a/._jd42.zip"])
def test_other_files_are_no_submissions(name):
    assert read(name) is None


@given(
    st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    st.booleans(),
    st.integers(1, 10**9),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,20}", fullmatch=True),
    st.integers(0, 99),
)
def test_what_canvas_puts_into_a_name_is_read_back(student, late, number, own, again):
    name = f"{student}{'_LATE' * late}_{number}_{number + 1}_{own}{f'-{again}' * bool(again)}.zip"
    found = read(name)
    assert (found.id, found.student, found.user) == (own, student, str(number))
    assert found.late == late and found.order == (True, number + 1, again, name)


@given(st.text(max_size=60))
def test_any_name_is_read_without_an_error(name):
    read(name)


def room(tmp_path, *names: str):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Classroom(tmp_path).find()


def test_the_last_file_of_a_student_counts(tmp_path):
    found = room(
        tmp_path,
        "doe_1_90_a.zip", "doe_LATE_1_100_a-1.zip", "doe_1_101_report.pdf",
        "x.zip", "x-1.zip", "x-2.zip", "team-1.zip", "roe_2_91_a.zip",
    )  # fmt: skip
    assert [(one.id, one.file) for one in found.counting] == [
        ("a", "doe_LATE_1_100_a-1.zip"),
        ("a", "roe_2_91_a.zip"),
        ("team-1", "team-1.zip"),
        ("x", "x-2.zip"),
    ]
    assert [one.file for one in found.superseded] == [
        "doe_1_101_report.pdf", "doe_1_90_a.zip", "x-1.zip", "x.zip"
    ]  # fmt: skip


def test_a_zip_of_submissions_is_read_like_a_folder(tmp_path):
    room(tmp_path / "class", "all/doe_1_90_a.zip", "all/notes.txt", "b.zip")
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for file in sorted((tmp_path / "class").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path / "class"))
    folder, packed = Classroom(tmp_path / "class"), Classroom(tmp_path / "class.zip")
    assert [one.file for one in packed.find().counting] == ["all/doe_1_90_a.zip", "b.zip"]
    assert packed.find().ignored == folder.find().ignored == ["all/notes.txt"]
    for one, other in zip(packed.find().counting, folder.find().counting, strict=True):
        assert packed.sha256(one) == folder.sha256(other)
        with packed.file(one, tmp_path) as file:
            assert file.read_text() == one.file


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no submissions in it"),
        (("notes.txt",), "no submissions in it"),
        (("homework/__init__.py",), "is one submission, not a class"),
    ],
)
def test_what_is_no_class_is_refused(tmp_path, files, message):
    with pytest.raises(GraderError, match=message):
        room(tmp_path, *files)


def test_a_damaged_zip_of_submissions_is_refused(tmp_path):
    (tmp_path / "class.zip").write_text("PK")
    with pytest.raises(GraderError, match="neither a folder nor a readable zip"):
        Classroom(tmp_path / "class.zip")


def test_hours_late_counts_from_the_due_date():
    assert hours_late(read("a.zip"), None) is None
    assert hours_late(read("a.zip"), datetime(2026, 10, 1, 23, 59)) == 1.52
    assert hours_late(read("a.zip"), datetime(2026, 10, 3)) == 0
