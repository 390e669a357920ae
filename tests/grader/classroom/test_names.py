"""Whose submission a file is, by its name and its folders; and how a class is read."""

from __future__ import annotations

import hashlib
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.classroom import names as own_names
from grader.classroom.names import File, hours_late
from grader.classroom.room import Classroom
from grader.errors import GraderError

DATE = datetime(2026, 10, 2, 1, 30)


NUMBERS = {
    "bob": "1",
    "bob-1": "2",
    "alice": "3",
    "s1": "5",
    "s2": "6",
    "al@x.edu": "3",
}  # of a gradebook


def number(id: str) -> str:
    return NUMBERS.get(id.casefold(), "")


def read(*names: str, naming: str = "auto", logins: bool = False) -> dict:
    """File -> its submission; `logins`: with a gradebook."""
    own = [number] if logins else []
    found = own_names.read(dict.fromkeys(names, File(DATE)), naming, *own)
    return {one.file: one for one in found}


def students(*names: str, **options) -> list[str]:
    """The ID of each file; an equal sign before one of a student who was named before."""
    found, seen = read(*names, **options), set()
    ids = []
    for name in names:
        if one := found.get(name):
            ids.append("=" * (one.key in seen) + one.id)
            seen.add(one.key)
    return ids


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
        ("J D_77_assignsubmission_file_/jd42.zip", ("jd42", "J D", "", False)),
        ("J D_77_assignsubmission_file_jd42.zip", ("jd42", "J D", "", False)),
    ],
)
def test_a_name_tells_id_student_number_and_lateness(name, expected):
    found = read(name)[name]
    assert (found.id, found.student, found.user, found.late) == expected


@given(
    st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    st.booleans(),
    st.integers(1, 10**9),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,20}", fullmatch=True),
    st.integers(0, 99),
)
def test_what_canvas_puts_into_a_name_is_read_back(student, late, number, own, again):
    name = f"{student}{'_LATE' * late}_{number}_{number + 1}_{own}{f'-{again}' * bool(again)}.zip"
    found = read(name)[name]
    assert (found.id, found.student, found.user) == (own, student, str(number))
    assert found.late == late and found.order == (True, number + 1, again, DATE, name)


@given(st.lists(st.text(st.sampled_from("a1-_ ()./c\u00e9"), max_size=20), max_size=5, unique=True))
def test_no_name_is_left_out(names):
    files = [f"{name}.zip" for name in names]
    assert {*read(*files)} == {*files}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["s1/homework.zip", "s2/homework.zip", "s3/homework.zip"], ["s1", "s2", "s3"]),
        (["all/s1/x/homework.zip", "all/s2/x/homework.zip"], ["s1", "s2"]),
        (["a/jd1.zip", "b/jd2.zip"], ["jd1", "jd2"]),
        (["a/bob.zip", "a/eve.zip", "b/bob.zip"], ["a/bob", "eve", "b/bob"]),
        (["bob.zip", "old/bob.zip"], ["bob", "old/bob"]),
        (["s1/homework.zip", "s1/homework (1).zip", "s2/homework.zip"], ["s1", "=s1", "s2"]),
        (["hw_4_2025_ef3.zip", "hw_4_2025_gh4.zip"], ["hw_4_2025_ef3", "hw_4_2025_gh4"]),
        (["doe_1_90_a.zip", "jd42.zip"], ["doe_1_90_a", "jd42"]),
        (["doe_1_90_a.zip", "roe_1_91_b.zip"], ["doe_1_90_a", "roe_1_91_b"]),
        (["doe_1_90_a.zip", "doe_1_91_b.zip"], ["a", "=b"]),
        (["bob.zip", "bob-1.zip"], ["bob", "bob-1"]),
        (["alice.zip", "ALICE-2.zip"], ["alice", "ALICE-2"]),
        (["team-1.zip", "team-2.zip"], ["team-1", "team-2"]),
        (["alice.zip", "sub/Alice.zip"], ["alice", "sub/Alice"]),
        (["caf\u00e9.zip", "cafe\u0301.zip"], ["caf\u00e9", "=cafe\u0301"]),
        (
            [f"J D_{n}_assignsubmission_file_/homework.zip" for n in (7, 8)],
            ["J D_7", "J D_8"],
        ),
        ([f"J D_{n}_assignsubmission_file_homework.zip" for n in (7, 8)], ["J D_7", "J D_8"]),
    ],
)
def test_students_are_told_apart(names, expected):
    assert students(*names) == expected


@pytest.mark.parametrize(
    "copy",
    [
        "ab1 (1)", "ab1(2)", "ab1 - Copy", "ab1 - Copy (2)", "ab1 copy", "ab1 copy 2",
        "AB1 (1)", "ab1 (1) (1)",
    ],
)  # fmt: skip
def test_what_a_system_names_a_copy_is_of_the_same_student(copy):
    assert students("ab1.zip", f"{copy}.zip")[1].startswith("=")
    first, second = read("ab1.zip", f"{copy}.zip").values()
    assert first.order < second.order and first.id.casefold() == second.id.casefold()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["bob.zip", "bob-1.zip", "BOB (1).zip"], ["bob", "bob-1", "=BOB"]),
        (["s1/homework.zip"], ["s1"]),
        (["s1/homework.zip", "s2/hw4.zip", "bob/s.zip"], ["s1", "s2", "bob"]),
        (["s1/x/homework.zip", "s2/homework.zip", "other/homework.zip"], ["s1", "s2", "homework"]),
        (["s1/bob.zip", "bob.zip"], ["s1", "bob"]),
        (["x/alice.zip", "y/alice.zip"], ["alice", "=alice"]),
        (["alice.zip", "al@x.edu.zip"], ["alice", "=al@x.edu"]),
        (["doe_1_90_a.zip", "bob.zip"], ["doe_1_90_a", "bob"]),
    ],
)
def test_logins_of_the_gradebook_win(names, expected):
    assert students(*names, logins=True) == expected


def test_canvas_names_are_read_as_such_if_asked_for():
    names = "doe_1_90_a.zip", "bob.zip", "hw_4_2025_ef3.zip", "hw_4_2026_gh4.zip"
    assert students(*names, naming="canvas") == ["a", "bob", "ef3", "=gh4"]
    assert students(*names[:2], naming="canvas", logins=True) == ["a", "=bob"]
    assert students(*names, naming="plain") == [name[:-4] for name in names]


def room(tmp_path, *names: str, naming: str = "auto"):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Classroom(tmp_path).find(naming)


def test_the_last_file_of_a_student_counts(tmp_path):
    found = room(
        tmp_path,
        "doe_1_90_a.zip", "doe_LATE_1_100_a-1.zip", "doe_1_101_report.pdf", "poe_3_5_x.pdf",
        "x.zip", "x (1).zip", "x (2).zip", "team-1.zip", "roe_2_91_a.zip",
        naming="canvas",
    )  # fmt: skip
    assert [(one.id, one.file) for one in found.counting] == [
        ("a", "doe_LATE_1_100_a-1.zip"),
        ("a", "roe_2_91_a.zip"),
        ("team-1", "team-1.zip"),
        ("x", "poe_3_5_x.pdf"),
        ("x", "x (2).zip"),
    ]
    assert [one.file for one in found.superseded] == ["doe_1_90_a.zip", "x (1).zip", "x.zip"]
    assert found.ignored == ["doe_1_101_report.pdf"]
    assert found.several() == [
        "a: doe_LATE_1_100_a-1.zip, before it doe_1_90_a.zip",
        "x: x (2).zip, before it x (1).zip, x.zip",
    ]


def copied(room: Classroom, one, folder: Path) -> bytes:
    folder.mkdir()
    digest = room.copy(one, folder / "x")
    content = (folder / "x").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    return content


def test_a_zip_of_submissions_is_read_like_a_folder(tmp_path):
    room(
        tmp_path / "class",
        "all/doe_1_90_a.zip", "all/notes.txt", "b_2_3_b.zip", "__MACOSX/b.zip", ".hidden.zip",
    )  # fmt: skip
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for file in sorted((tmp_path / "class").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path / "class"))
    folder, packed = Classroom(tmp_path / "class"), Classroom(tmp_path / "class.zip")
    assert [one.file for one in packed.find().counting] == ["all/doe_1_90_a.zip", "b_2_3_b.zip"]
    assert packed.find().ignored == folder.find().ignored == ["all/notes.txt"]
    for number, room_ in enumerate((packed, folder)):
        for one in room_.find().counting:
            assert copied(room_, one, tmp_path / f"{number}{one.id}") == one.file.encode()


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_and_pipes_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.zip").write_text("x")
    (tmp_path / "class").mkdir()
    for name, target in (
        ("file.zip", "../outside/x.zip"),
        ("folder", "../outside"),
        ("no.zip", "n"),
    ):
        (tmp_path / "class" / name).symlink_to(target)
    os.mkfifo(tmp_path / "class/pipe.zip")
    found = room(tmp_path / "class", "own.zip")
    assert [one.id for one in found.counting] == ["file", "folder", "no", "own", "pipe"]
    assert not found.ignored
    for one in found.counting:
        if one.id != "own":
            with pytest.raises(OSError, match=r"it is a link, which is not followed|no plain file"):
                Classroom(tmp_path / "class").copy(one, tmp_path / "copy")
    # One that has become a link since.
    later = Classroom(tmp_path / "class")
    own = next(one for one in later.find().counting if one.id == "own")
    (tmp_path / "class/own.zip").unlink()
    (tmp_path / "class/own.zip").symlink_to("../outside/x.zip")
    with pytest.raises(OSError):
        later.copy(own, tmp_path / "copy")


METADATA = """\
---
submission_7:
  :submitters:
  - :name: Doe, Jane
    :sid: jd42
    :email: jane@x.edu
  - :name: Roe
    :sid:
    :email: rr7@x.edu
  :created_at: 2026-10-02 01:30:00.123456000 Z
  :results: !ruby/object:Grading
    tests: []
submission_8:
  :submitters:
  - :name: Poe
    :sid: 0017
    :email: pp1@x.edu
  :created_at: !ruby/object:ActiveSupport::TimeWithZone
    utc: 2026-10-02 01:30:00.0 Z
submission_9:
  :submitters:
  - :name: Gone
    :sid: '9'
"""


def test_the_export_of_gradescope_is_read(tmp_path):
    folder = tmp_path / "class" / "assignment_1_export"
    for name in (
        "submission_7/homework/__init__.py",
        "submission_7/notes.txt",
        "submission_8/a.zip",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "submission_metadata.yml").write_text(METADATA)
    found = Classroom(tmp_path / "class").find()
    assert [(one.id, one.student, one.file[-1]) for one in found.counting] == [
        ("0017", "Poe", "8"), ("9", "Gone", "9"), ("jd42", "Doe, Jane", "7"),
        ("rr7@x.edu", "Roe", "7"),
    ]  # fmt: skip
    assert not found.ignored and not found.superseded
    utc = {one.modified.astimezone(UTC).isoformat()[:16] for one in found.counting[::2]}
    assert utc == {"2026-10-02T01:30"}
    assert "not in the export" in found.counting[1].fault
    classroom = Classroom(tmp_path / "class")
    known = classroom.find("auto", lambda id: "5" * (id == "pp1@x.edu")).counting
    assert [(one.id, one.key) for one in known if one.student == "Poe"] == [("pp1@x.edu", "5")]
    classroom.copy(found.counting[2], tmp_path / "copy")
    assert (tmp_path / "copy/homework/__init__.py").is_file() and (tmp_path / "copy/notes.txt")
    (folder / "submission_metadata.yml").write_text("submission_7: [")
    with pytest.raises(GraderError, match=r"submission_metadata.yml: is not as Gradescope writes"):
        Classroom(tmp_path / "class").find()


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


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.writestr("a.zip", "1")
        archive.writestr("a.zip", "2")
    with pytest.raises(GraderError, match=r"has two files 'a.zip'"):
        Classroom(tmp_path / "class.zip")


def test_hours_late_counts_from_the_due_date():
    one = read("a.zip")["a.zip"]
    assert hours_late(one, None) is None
    assert hours_late(one, datetime(2026, 10, 1, 23, 59)) == 1.52
    assert hours_late(one, datetime(2026, 10, 3)) == 0
