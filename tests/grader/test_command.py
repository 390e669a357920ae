"""The grader's command line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, make_zip
from grading import gone

from grader import files as private
from grader.__main__ import main

TIMEOUT = 300  # seconds, for a command that hangs; none takes so long


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        (["nowhere.zip"], "nowhere.zip: no such file or folder (make it with"),
        (["ID.zip", "--data_dir", "nowhere"], "no questions (*_qa_pairs.json)"),
        (["ID.zip", "--split", "nowhere"], "no questions (*_qa_pairs.json)"),
        (["ID.zip", "--log_path", "nowhere/log"], "cannot be written"),
        (["ID.zip", "--log_path", "data"], "cannot be written"),
        (["ID.zip", "--log_path", "notes.txt"], "notes.txt: what is there is no result"),
        (["ID.zip", "--log_path", "deep"], "deep: what is there is no result"),
        (["ID.zip", "--log_path", "pipe"], "pipe: what is there is no result"),
        (["ID.zip", "--format", "gradescope", "--output", "notes.txt"], "is no result of the gr"),
        (["a\x1b[31m\n" + "x" * 30_000], r"a\x1b[31m\nxxx"),
    ],
)
def test_what_the_grader_cannot_work_with(place, monkeypatch, capsys, arguments, detail):
    monkeypatch.chdir(place)
    make_zip(place / "ID.zip")
    (place / "notes.txt").write_text("mine")
    (place / "deep").write_text("[" * 200_000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(place / "pipe")
    else:
        (place / "pipe").write_text("mine")
    assert main(["--data_dir", "data", *arguments]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and detail in err and not out
    assert len(err) < 1000 and (place / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_where_nothing_can_be_written_is_found_before_the_grading(
    place, monkeypatch, capsys, number
):
    def refuse(**options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("grader.files.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("grader.__main__.grade", None)
    words = [str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]
    assert main([*words, "--log_path", str(place / "log")]) == 1
    assert main(["class", *words, "--output", str(place / "grades.csv")]) == 1
    err = capsys.readouterr().err
    for line, name in zip(err.splitlines(), ["log", "grades.csv"], strict=True):
        assert line.startswith(f"error: {place / name}: cannot be written ({os.strerror(number)})")


def test_an_earlier_log_is_replaced_and_a_full_disk_names_the_file(place, monkeypatch, capsys):
    words = [str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]
    words += ["--log_path", str(place / "log")]
    words += ["--format", "gradescope", "--output", str(place / "results.json")]
    assert main(words) == main(words) == 0
    before = (place / "log").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("grader.files.os.fsync", full)
    capsys.readouterr()
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err == f"error: {place / 'log'}: cannot be written (No space left on device)\n"
    assert (place / "log").read_bytes() == before


def test_an_error_of_printing_says_so(place, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("grader.report.Report._print", full)
    assert main([str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]) == 1
    assert "error: the grader's output: No space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("[", "not valid JSON"),
        ("{}", "expected a list"),
        ('[{"question": "?"}]', "record 0: expected"),
        ('[{"question": "?", "answer": "1", "image_file": "../x"}]', "leads out"),
        (
            '[{"question": "?", "answer": "1", "image_file": "x"},'
            ' {"question": "?", "answer": "2", "image_file": "./x"}]',
            "two answers",
        ),
        ('[{"question": "?", "answer": "1", "image_file": "valid/x.jpg"}]', "no such image"),
    ],
)
def test_malformed_data(place, capsys, text, detail):
    (place / "data/valid_grader/a_qa_pairs.json").write_text(text)
    path = make_zip(place / "ID.zip")
    assert main([str(path), "--data_dir", str(place / "data")]) == 1
    err = capsys.readouterr().err
    assert detail in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b"], ["a", "--log"], ["a", "--time_limit", "0"], ["a", "--time_limit", "nan"]],
)
def test_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1


# The same command without the packages, which take seconds to import.
QUICK = (
    "import runpy; from grader import interpreter; interpreter.BEFORE_THE_LOCK = ()\n"
    "runpy.run_module('grader', run_name='__main__')"
)


def command(place: Path, *arguments: str, how=("-c", QUICK), **options) -> subprocess.Popen:
    """Start the command in another folder, with its own temporary folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
    return subprocess.Popen(
        [sys.executable, *how, *arguments, "--data_dir", "data"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_the_command_from_another_folder(place):
    make_zip(place / "ID.zip")
    out, err = (
        process := command(place, "ID.zip", "--disable_color", how=("-m", "grader"))
    ).communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Grading ID.zip\n") and out.endswith("Total: 105.0 / 100 (105 at most)\n")


def started(place: Path, *options: str) -> tuple[subprocess.Popen, int]:
    """A grading of a submission that hangs, and the process that the submission runs in."""
    make_zip(place / "ID.zip", GOOD | {"__init__.py": "import time\ntime.sleep(60)"})
    process = command(place, "ID.zip", *options)
    for line in iter(process.stdout.readline, ""):
        if line.startswith(("Locked by", "Not locked")):
            break
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    return process, int(Path(children).read_text().split()[0])


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


@pytest.mark.slow
@linux
@pytest.mark.parametrize("option", [[], ["--open"]], ids=["locked", "open"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stop_leaves_nothing(place, number, code, option):
    process, child = started(place, *option)
    process.send_signal(number)
    err = process.communicate(timeout=TIMEOUT)[1]
    expected = "stopped by Ctrl-C; nothing was graded\n" if code == 130 else ""
    assert (process.returncode, err) == (code, expected)
    assert not list((place / "tmp").iterdir()) and gone(child)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (SystemExit(143), 143)])
def test_a_stop_while_a_thread_starts(place, monkeypatch, capsys, stop, code):
    def interrupted(*_, **__):
        with (lock := threading.Lock()):  # as a signal leaves `Thread.start`
            lock.release()
            raise stop

    monkeypatch.setattr("grader.__main__.grade", interrupted)
    arguments = [str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]
    if code == 130:
        assert main(arguments) == code
        assert capsys.readouterr().err == "stopped by Ctrl-C; nothing was graded\n"
    else:
        with pytest.raises(SystemExit, match="143"):
            main(arguments)


@pytest.mark.slow
@linux
@pytest.mark.parametrize("option", [[], ["--open"]], ids=["locked", "open"])
def test_a_killed_grader_leaves_no_child_and_one_of_the_next_day_removes_its_folder(place, option):
    living, _ = started(place)
    (own,) = (place / "tmp").iterdir()
    killed, child = started(place, *option)
    killed.kill()
    killed.wait()
    assert gone(child)
    (left,) = {*(place / "tmp").iterdir()} - {own}
    os.utime(left, (0, 0))
    (place / "tmp" / "grader-old").mkdir()  # a user's, by a name like that
    os.utime(place / "tmp" / "grader-old", (0, 0))

    make_zip(place / "ID.zip")
    command(place, "ID.zip").communicate(timeout=TIMEOUT)
    assert {path.name for path in (place / "tmp").iterdir()} == {own.name, "grader-old"}
    living.terminate()
    living.communicate(timeout=TIMEOUT)
    assert {path.name for path in (place / "tmp").iterdir()} == {"grader-old"}


def test_only_an_old_folder_of_this_user_is_a_left_over(place, monkeypatch):
    (place / "kept").mkdir()
    (place / "kept" / "file").touch()
    for name in ("old", "new"):
        (place / "tmp" / f"grader-private-{name}").mkdir()
    (place / "tmp" / "grader-private-link").symlink_to(place / "kept")
    (place / "tmp" / "grader-private-file").touch()
    for name in ("old", "link", "file"):
        os.utime(place / "tmp" / f"grader-private-{name}", (0, 0), follow_symlinks=name != "link")
    before = {*(place / "tmp").iterdir()}
    monkeypatch.setattr(os, "getuid", lambda: -1, raising=False)
    private._remove_left_over()
    assert {*(place / "tmp").iterdir()} == before, "another user's"
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", str(place / "tmp"))
    private._remove_left_over()
    old = place / "tmp" / "grader-private-old"
    assert {*(place / "tmp").iterdir()} == before - {old} and (place / "kept" / "file").exists()


def test_a_tilde_is_the_home_folder_as_in_the_homework(place, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("USERPROFILE", str(place))
    make_zip(place / "ID.zip")
    assert main(["~/ID.zip", "--data_dir=~/data", "--log_path=~/log"]) == 0
    assert "Total: 105" in capsys.readouterr().out and (place / "log").is_file()
