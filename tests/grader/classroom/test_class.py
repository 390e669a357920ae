"""`python3 -m grader class`: the table, and a run that goes on where it was."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, VLM, make_zip, write_files
from grading import gone

from grader.__main__ import main
from grader.classroom import command as class_command
from grader.classroom.results import Journal
from grader.cli import local_time
from grader.errors import SubmissionError

QUICK = (
    "import runpy; from grader import interpreter; interpreter.BEFORE_THE_LOCK = ()\n"
    "runpy.run_module('grader', run_name='__main__')"
)


AS_MADE = ("--names", "canvas", "--latest")


def with_wrong(number: int) -> dict[str, str]:
    """A submission that gets `number` of 10 questions wrong."""
    return GOOD | {"vlm.py": VLM.replace("wrong = 0", f"wrong = {number}")}


@pytest.fixture
def submissions(place: Path) -> Path:
    """Eight files of six students."""
    folder = place / "class"
    folder.mkdir()
    make_zip(folder / "good.zip")
    make_zip(folder / "same.zip")
    make_zip(folder / "doejane_LATE_12_345_half-1.zip", with_wrong(5))
    make_zip(folder / "import.zip", GOOD | {"vlm.py": "import nothing"})
    make_zip(folder / "twice.zip", with_wrong(10))
    make_zip(folder / "twice (1).zip", with_wrong(1))
    (folder / "roe_13_346_report.pdf").write_text("=A1")
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture
def graded_class(place: Path, submissions: Path, capsys):
    """Grade the class as the command does: (exit code, rows of the table, output, errors)."""

    def run(*options: str, path: Path = submissions) -> tuple[int, list[dict], str, str]:
        output = place / "grades.csv"
        words = ["class", str(path), "--output", str(output), *arguments(place), *AS_MADE]
        code = main([*words, *options])
        out, err = capsys.readouterr()
        assert not list((place / "tmp").iterdir()), "the private folders must go"
        return code, rows(output) if output.exists() else [], out, err

    return run


def arguments(place: Path) -> list[str]:
    return ["--data_dir", str(place / "data"), "--jobs", "2", "--memory", "1"]


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return [*csv.DictReader(file)]


def but_for_seconds(table: list[dict]) -> list[dict]:
    return [row | {"seconds": None} for row in table]


def test_the_table_has_a_row_for_each_student(graded_class, place):
    code, table, out, err = graded_class("--due", "2020-01-01")
    assert (code, err) == (0, "")
    found = {row["ID"]: row for row in table}
    assert [*found] == ["good", "half", "import", "report", "same", "twice"]
    assert {name: row["total"] for name, row in found.items()} == {
        "good": "105.0", "half": "71.43", "import": "0.0", "report": "0.0", "same": "105.0",
        "twice": "105.0",
    }  # fmt: skip
    half = found["half"]
    assert (half["late"], half["student"], half["canvas_user"]) == ("yes", "doejane", "12")
    assert (half["accuracy"], half["accuracy_points"], half["extra_points"]) == (
        "0.5", "71.43", "0.0"
    )  # fmt: skip
    assert half["reason"] == "5 of 10 answers are right (50.0%); full points need 70%."
    assert float(half["hours_late"]) > 0
    assert found["import"]["reason"] == (
        "The model does not load: ModuleNotFoundError: No module named 'nothing' "
        "(homework/vlm.py, line 1)."
    )
    assert found["report"]["reason"].startswith("The zip cannot be graded: not a readable zip")
    assert found["good"]["sha256"] == found["same"]["sha256"] != half["sha256"]
    assert "superseded by a later file of the student: 1\n    twice.zip\n" in out
    assert "other files, ignored: 1\n    notes.txt\n" in out
    assert "6 submissions, 2 at a time" in out and "5 graded; 1 have" in out

    details = json.loads((place / "grades.json").read_text())
    assert [one["ID"] for one in details["submissions"]] == [*found]
    assert details["submissions"][1]["kinds"] == {"count": {"right": 5, "asked": 10}}
    assert details["superseded"] == ["twice.zip"] and details["settings"]["time_limit"] == 60


def test_a_zip_of_the_class_and_one_at_a_time_give_the_same_table(graded_class, place, submissions):
    _, table, _, _ = graded_class()
    (place / "grades.results.jsonl").unlink()
    with zipfile.ZipFile(place / "class.zip", "w") as archive:
        for file in submissions.iterdir():
            archive.write(file, file.name)
    _, again, _, _ = graded_class("--jobs", "1", path=place / "class.zip")
    assert but_for_seconds(again) == but_for_seconds(table)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's layers need Linux")
@pytest.mark.parametrize(
    "path", ["out/grades.results.jsonl", "out/x.csv", "class/good.zip", "book/x.csv"]
)
def test_no_submission_reads_the_files_of_its_class(graded_class, place, monkeypatch, path):
    write_files(place, {"out/x.csv": "1", "book/x.csv": "Student,ID,Homework 4 (1)\n"})
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(str(place / p) for p in ("out", "class", "book"))
    )
    body = f"try: open({str(place / path)!r}).read()\nexcept PermissionError: pass\n"
    body += "else: raise ValueError('could be read')\n"
    make_zip(place / "class" / "twice-1.zip", GOOD | {"vlm.py": body + VLM})
    options = ["--format", "canvas", "--gradebook", str(place / "book" / "x.csv")]
    graded_class(*options, "--output", str(place / "out" / "grades.csv"))
    totals = {row["ID"]: row["total"] for row in rows(place / "out" / "grades.csv")}
    assert totals["twice"] == "105.0"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's layers need Linux")
def test_results_inside_what_may_be_read_are_refused(graded_class, place, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "hub"))
    (place / "hub" / "out").mkdir(parents=True)
    code, _, _, err = graded_class("--output", str(place / "hub" / "out" / "grades.csv"))
    assert code == 1 and (place / "hub/out/grades.results.jsonl").read_bytes() == b""
    assert f"{place}/hub/out: lies inside {place}/hub, which a submission may read" in err


def test_the_results_on_disk_hold_no_correct_answers(graded_class, place):
    graded_class()
    results = (place / "grades.results.jsonl").read_text()
    assert results.count("\n") == 5
    assert "correct_answer" not in results and "model_answer" not in results


def test_earlier_results_are_kept_only_if_asked_for(graded_class, place, submissions, monkeypatch):
    _, table, _, _ = graded_class()
    code, _, _, err = graded_class()
    assert code == 1 and "holds 5 results of an earlier run; give --resume" in err
    monkeypatch.setattr("grader.classroom.results.grade", None)  # would end as "not graded"
    code, again, out, _ = graded_class("--resume")
    assert code == 0 and again == table and "0 graded; 6 have" in out


def test_a_result_that_was_cut_off_is_graded_again_and_new_ones_too(
    graded_class, place, submissions
):
    _, table, _, _ = graded_class()
    journal = place / "grades.results.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])
    make_zip(submissions / "zoe.zip", with_wrong(2))
    code, again, out, _ = graded_class("--resume")
    assert code == 0 and "7 submissions" in out and "2 graded; " in out
    assert but_for_seconds(again[:-1]) == but_for_seconds(table) and again[-1]["ID"] == "zoe"
    assert len(journal.read_text().splitlines()) == 6


def test_results_under_other_settings_are_not_reused(graded_class, place):
    graded_class()
    _, _, out, _ = graded_class("--resume", "--time_limit", "50")
    assert "5 graded; " in out
    (place / "data/valid/00003_00_im.jpg").write_text("another image")
    _, _, out, _ = graded_class("--resume", "--time_limit", "50")
    assert "5 graded; " in out


def test_a_mistake_in_the_grader_costs_one_row_and_is_tried_again(graded_class, place, monkeypatch):
    real = class_command.grade_one

    half = (place / "class/doejane_LATE_12_345_half-1.zip").read_bytes()

    def broken(path, *rest):
        if path.read_bytes() == half:
            raise RuntimeError("a\nmistake")
        return real(path, *rest)

    monkeypatch.setattr(class_command, "grade_one", broken)
    code, table, out, _ = graded_class()
    assert code == 1 and table[1]["total"] == "" and "not graded" in out
    assert "the grader itself failed on it (RuntimeError: a mistake)" in table[1]["reason"]
    monkeypatch.setattr(class_command, "grade_one", real)
    code, table, out, _ = graded_class("--resume")
    assert code == 0 and table[1]["total"] == "71.43" and "1 graded; " in out


def test_what_runs_out_of_memory_beside_others_is_graded_again_alone(graded_class, monkeypatch):
    from grader import process

    real, starts = process.Child.call, []

    def call(self, do, *rest, **arguments):
        if do == "load":
            starts.append(threading.active_count())
            if len(starts) == 1:
                raise SubmissionError("used over 1.0 GB of memory and was stopped")
        return real(self, do, *rest, **arguments)

    monkeypatch.setattr(process.Child, "call", call)
    code, table, out, _ = graded_class()
    assert code == 0 and "1 reached a limit beside others: again, alone" in out
    assert [row["total"] for row in table] == ["105.0", "71.43", "0.0", "0.0", "105.0", "105.0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "nowhere"], "no questions"),
        (["--output", "grades.txt"], "ends in .csv"),
        (["--output", "nowhere/grades.csv"], "cannot be written"),
        (["--jobs", "4", "--memory", "100000"], "give a smaller --jobs or --memory"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_graded(graded_class, options, message):
    code, table, out, err = graded_class(*options)
    assert code == 1 and not table and "graded" not in out
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize(
    "options",
    [
        ["--due", "tomorrow"],
        ["--jobs", "0"],
        ["--memory", "-1"],
        ["--gradebook", "x"],
        ["--late_penalty", "10"],
        ["--due", "2026-10-01", "--late_penalty", "nan"],
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, options):
    with pytest.raises(SystemExit) as stopped:
        main(["class", "x", "--output", "grades.csv", *options])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_a_due_date_may_name_its_time_zone():
    with_zone = local_time("2026-10-01T23:59+00:00")
    assert with_zone.tzinfo is None
    assert with_zone.astimezone(UTC).isoformat() == "2026-10-01T23:59:00+00:00"


def test_a_file_that_is_no_journal_is_not_written_over(graded_class, place):
    (place / "grades.results.jsonl").write_text("notes\n")
    code, _, _, err = graded_class("--resume")
    assert code == 1 and "line 1 is no result" in err
    assert (place / "grades.results.jsonl").read_text() == "notes\n"


def start(place: Path, *options: str) -> subprocess.Popen:
    """The command in a process of its own."""
    words = ["class", "class", "--output", "grades.csv", *arguments(place), *AS_MADE, *options]
    return subprocess.Popen(
        [sys.executable, "-c", QUICK, *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *below(child)]
    return found


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_class_goes_on_where_it_was(graded_class, place, number):
    journal = place / "grades.results.jsonl"
    process = start(place)
    wait_for_lines(journal, 2)
    family = below(process.pid)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1]
    assert not (place / "grades.csv").exists()
    assert all(map(gone, family)), "no process may live on"
    if number == signal.SIGINT:
        assert process.returncode == 130 and "--resume" in err
    left = [*(place / "tmp").iterdir()]
    assert not left or number == signal.SIGKILL
    for folder in left:  # a grader of the next day removes it
        assert folder.name.startswith("grader-private-")
        shutil.rmtree(folder)
    kept = journal.read_bytes()
    done = kept[: kept.rfind(b"\n") + 1]
    code, table, out, _ = graded_class("--resume")
    assert code == 0 and f"{5 - len(done.splitlines())} graded; " in out
    assert journal.read_bytes().startswith(done)
    journal.unlink()
    assert but_for_seconds(graded_class()[1]) == but_for_seconds(table)


def test_two_gradings_do_not_write_into_one_table(graded_class, place):
    with Journal(place / "grades.results.jsonl", resume=False):
        code, _, _, err = graded_class("--resume")
    assert code == 1 and "another grading writes into it" in err


def test_a_file_that_changes_meanwhile_is_graded_as_it_is_copied(graded_class, place, monkeypatch):
    real, changed = class_command.grade_one, place / "class/half.zip"
    (place / "class/doejane_LATE_12_345_half-1.zip").rename(changed)
    make_zip(place / "class/same half.zip", with_wrong(5))

    def change(path, *rest):
        make_zip(changed, with_wrong(10))
        monkeypatch.setattr(class_command, "grade_one", real)
        return real(path, *rest)

    monkeypatch.setattr(class_command, "grade_one", change)
    code, table, _, _ = graded_class("--jobs", "1")
    found = {row["ID"]: row for row in table}
    assert code == 0 and found["same half"]["total"] == "71.43"
    digests = {hashlib.sha256(changed.read_bytes()).hexdigest(): "0.0"}
    digests[found["same half"]["sha256"]] = "71.43"
    assert found["half"]["total"] == digests[found["half"]["sha256"]]


def test_what_cannot_be_read_is_not_graded_and_tried_again(graded_class, place, monkeypatch):
    real = class_command.Classroom.copy

    def copy(self, submission, target):
        if submission.id == "half":
            raise OSError(5, "Input/output error")
        return real(self, submission, target)

    monkeypatch.setattr(class_command.Classroom, "copy", copy)
    for run in ((), ("--resume",)):
        code, table, _, _ = graded_class(*run)
        assert code == 1 and table[1]["total"] == "" and table[0]["total"] == "105.0"
        assert "OSError: [Errno 5] Input/output error" in table[1]["reason"]
    monkeypatch.undo()
    monkeypatch.setattr("grader.interpreter.BEFORE_THE_LOCK", ())
    code, table, out, _ = graded_class("--resume")
    assert code == 0 and table[1]["total"] == "71.43" and "1 graded; " in out


def test_a_link_is_marked_and_not_graded(graded_class, place):
    (place / "class/link.zip").symlink_to(place / "class/good.zip")
    code, table, _, _ = graded_class()
    row = next(row for row in table if row["ID"] == "link")
    assert (
        code == 1 and row["total"] == "" and "it is a link, which is not followed" in row["reason"]
    )


def test_each_day_after_the_due_date_costs_points(graded_class, place):
    for name, days in (("good.zip", 0), ("same.zip", 1.5), ("import.zip", 30)):
        moment = datetime(2026, 10, 2).timestamp() + days * 86_400
        os.utime(place / "class" / name, (moment, moment))
    _, table, _, _ = graded_class("--due", "2026-10-02", "--late_penalty", "10")
    found = {row["ID"]: row for row in table}
    assert (found["good"]["total"], found["good"]["penalty"]) == ("105.0", "0.0")
    assert (found["same"]["total"], found["same"]["penalty"]) == ("84.0", "21.0")
    assert found["same"]["reason"].endswith("21 points are taken off: 36 hours late.")
    assert (found["import"]["total"], found["import"]["penalty"]) == ("0.0", "0.0")
    _, table, out, _ = graded_class("--resume")  # the results on the disk are without it
    assert {row["ID"]: row["total"] for row in table}["same"] == "105.0" and "0 graded; " in out


def test_no_student_is_dropped_unasked(graded_class, place, capsys):
    code, table, out, err = graded_class("--names", "plain", "--latest")
    assert code == 0 and "doejane_LATE_12_345_half-1" in {row["ID"] for row in table}
    folder = place / "few"
    for name in ("s1/homework.zip", "s2/homework.zip", "ab1.zip", "ab1-2.zip", "x.zip"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_zip(folder / name)
    capsys.readouterr()
    words = ["class", str(folder), "--output", str(place / "few.csv"), *arguments(place)]
    assert main(words) == 0
    table = {row["ID"]: row for row in rows(place / "few.csv")}
    assert [*table] == ["ab1", "ab1-2", "s1", "s2", "x"]
    make_zip(folder / "x (1).zip")
    (place / "few.csv").unlink()
    capsys.readouterr()
    assert main([*words, "--resume"]) == 1 and not (place / "few.csv").exists()
    out, err = capsys.readouterr()
    assert "students with several files: 1\n    x: x (1).zip, before it x.zip\n" in out
    assert (
        err.startswith("error: nothing was graded: the students listed above")
        and err.count("\n") == 1
    )
    assert main([*words, "--resume", "--latest"]) == 0
    assert {row["ID"]: row["total"] for row in rows(place / "few.csv")}["x"] == "105.0"


@pytest.mark.parametrize("suffix", [".csv", ".json", ".html", ".canvas.csv"])
def test_a_file_that_is_no_result_is_not_replaced(place, graded_class, suffix):
    book = place / "book.csv"
    book.write_text("Student,ID,SIS Login ID,Homework (7)\nDoe,1,good,\n")
    filled = ("--format", "canvas", "--gradebook", str(book))
    mine = place / f"grades{suffix}"
    mine.write_text("mine")
    code, _, out, err = graded_class(*filled)
    assert code == 1 and f"{mine}: what is there is no result" in err and not out
    assert mine.read_text() == "mine"
    mine.unlink()
    assert graded_class(*filled)[0] == 0
    book.write_text("Student,ID,SIS Login ID,Homework (7)\nDoe,1,good,\nRoe,2,same,\n")
    assert graded_class(*filled, "--resume")[0] == 0  # replaces its own


def test_the_gradebook_itself_is_not_replaced(place, graded_class):
    book = place / "grades.canvas.csv"
    book.write_text("Student,ID,SIS Login ID,Homework (7)\nDoe,1,good,\n")
    code, _, _, err = graded_class("--format", "canvas", "--gradebook", str(book))
    assert code == 1 and "is the gradebook that you gave" in err
