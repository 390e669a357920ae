"""The lock: hostile submissions are stopped, named and scored; honest ones notice nothing."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time

import pytest
from fake_submission import GOOD, VLM, make_zip, write_files
from grading import failure, model
from hostile_submissions import (
    ATTEMPTS,
    FORGERIES,
    HONEST,
    OVER_A_LIMIT,
    forgery,
    honest,
    numbers,
    submission,
)

from grader.__main__ import main
from grader.grade import grade
from grader.interpreter import own
from grader.lock import places
from grader.report import Report
from grader.usage import Slot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's layers need Linux")

KEPT = ("mode", "size", "mtime_ns", "uid", "nlink")
ACTIVE = {"hook": "Python audit hook", "limits": "resource limits"}


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_is_stopped_named_and_scored(place, graded, attempt):
    outside = place / "outside"
    outside.mkdir()
    (outside / "secret").write_text("kept")
    (place / "data" / "valid" / "x.py").write_text("")
    before = {path: path.stat() for path in place.rglob("*")}

    paths = {"data": place / "data", "outside": outside, "secret": outside / "secret"}
    out, result = graded(submission(attempt, numbers(), **paths), "-vv")

    layer = ACTIVE.get(attempt.layer, attempt.layer)
    if layer not in result["lock"]["active"]:
        pytest.skip(f"this kernel has no {layer}")
    assert "| STOPPED" in out and "SUCCEEDED" not in out
    assert result["total"] == 105, "an attempt costs no points by itself"
    if attempt.denied is None:
        assert not result["denied"]
    else:
        assert any(re.search(attempt.denied, denial) for denial in result["denied"]), out
        assert "    denied: tried to " in out and "Denied: " in out
    for path, stat in before.items():
        if path.is_file():
            assert all(getattr(path.stat(), f"st_{f}") == getattr(stat, f"st_{f}") for f in KEPT)
    assert set(place.rglob("*")) - {*before} <= {place / "ID.zip", place / "log.txt"}


@pytest.mark.parametrize("case", FORGERIES, ids=lambda case: case.name)
def test_a_forgery_earns_nothing(graded, case):
    out, result = graded(forgery(case))
    assert result["total"] == 0 and "Total: 0.0 / 100 (105 at most)" in out.splitlines()
    assert re.search(case.reported, out), out
    assert "\x1b" not in out


@pytest.mark.slow
@pytest.mark.parametrize("name", OVER_A_LIMIT)
def test_a_limit_ends_it(graded, monkeypatch, name):
    body, reported = OVER_A_LIMIT[name]
    monkeypatch.setattr("grader.usage.MEMORY_LIMIT_BYTES", 500_000_000)
    monkeypatch.setattr("grader.usage.THREAD_LIMIT", 50)
    # A slow machine may need long to reach a limit; only a hang has to be waited for.
    start, seconds = time.monotonic(), 1 if "took over 1 s" in reported else 60
    out, result = graded(model(body), "--time_limit", str(seconds))
    assert time.monotonic() - start < seconds + 20
    assert re.search(reported, failure(result, out)[1]), out
    assert len(out) < 20_000


def test_the_limits_are_looked_at_with_every_reply(graded, monkeypatch):
    monkeypatch.setattr("grader.usage.excess", lambda *_: "used over 1 GB of memory")
    out, result = graded()
    assert failure(result, out)[1] == "used over 1 GB of memory"


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_habit_costs_nothing(graded, name):
    out, result = graded(honest(HONEST[name]), "-v")
    assert result["total"] == 105, out
    assert result["denied"] == [], out


# A thread takes over from the first one: it answers for it, and every request that follows.
GOES_ON = """
import ctypes, json, platform, sys, threading, time
begun = False

class Takes(Model):
    def answer(self, image_paths, questions):
        global begun
        if begun:
            return super().answer(image_paths, questions)
        begun = True
        frame = sys._getframe()
        while frame.f_code.co_name != "serve":
            frame = frame.f_back
        names = "reply", "requests", "channel", "methods"
        reply, requests, channel, methods = (frame.f_locals[name] for name in names)

        def go_on(reply):
            time.sleep(0.5)  # until the first thread has ended
            reply["value"] = super(Takes, self).answer(image_paths, questions)
            channel.send(reply)
            while line := requests.readline():
                request = json.loads(line)
                reply = {"id": request.pop("id")}
                reply["value"] = methods[request.pop("do")](**request)
                channel.send(reply)

        threading.Thread(target=go_on, args=(reply,)).start()
        ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)

load_vlm = Takes
"""


def test_a_process_whose_first_thread_has_ended_gets_no_points(graded):
    out, result = graded(GOOD | {"vlm.py": VLM + GOES_ON})
    assert failure(result, out)[1] == "ended its first thread and was stopped"


def test_a_denial_has_its_place_whatever_the_package_is_called(place, graded):
    files = GOOD | {"vlm.py": "import socket\ntry: socket.socket()\nexcept OSError: pass\n" + VLM}
    _, result = graded(make_zip(place / "ID.zip", files, "solution/"))
    assert result["denied"] == [
        "tried to open a socket: not allowed in grading (solution/vlm.py, line 2)"
    ]


@pytest.mark.parametrize("code", ["os.sched_setaffinity(0, {0})",
    "assert libc.sched_setaffinity(0, 8, ctypes.byref(ctypes.c_ulong(1))) == 0",
    "assert libc.setpriority(0, 0, 0) == 0", "assert libc.nice(0) == 0",
    "assert libc.sched_setscheduler(0, 0, ctypes.byref(ctypes.c_ulong(0))) == 0"],
)  # fmt: skip
def test_a_submission_of_a_class_keeps_to_its_processor(place, code):
    head = "import ctypes, os\nlibc = ctypes.CDLL(None)\ndef attempt():\n    "
    tail = "\ntry: attempt()\nexcept (OSError, AssertionError): pass\nelse: raise ValueError\n"
    path = make_zip(place / "ID.zip", GOOD | {"vlm.py": head + code + tail + VLM})
    slot = Slot(min(os.sched_getaffinity(0)), 10**9)
    result = grade(path, place / "data", "valid_grader", 60, Report(out=io.StringIO()), slot=slot)
    assert result["total"] == 105, result["cases"]
    assert result["denied"] == [
        "tried to change a process's priority or processors: not allowed in grading "
        "(from native code)"
    ]


def test_an_attempt_that_is_not_caught_is_a_failed_case(graded):
    out, result = graded(model("import socket; socket.socket()"))
    assert failure(result, out)[1] == (
        "PermissionError: tried to open a socket: not allowed in grading (homework/vlm.py, line 3)"
    )
    assert result["denied"] == [
        "tried to open a socket: not allowed in grading (homework/vlm.py, line 3)"
    ]


def test_open_grades_without_the_lock_and_says_so(place, graded):
    target = place / "written"
    body = f"open({str(target)!r}, 'w').close()\nreturn ['0'] * 10"
    out, result = graded(model(body), "--open")
    assert "Not locked (--open): the submission's code runs with all your rights\n" in out
    assert target.exists() and result["lock"] == {} and result["accuracy"] == 0.1


def test_the_lock_is_named_in_one_line(graded):
    out, result = graded()
    assert sum(line.startswith("Locked by: ") for line in out.splitlines()) == 1
    assert "Python audit hook" in result["lock"]["active"]


def test_the_child_sees_no_labels_and_no_secrets(place, graded, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("MY_PASSWORD", "secret")
    (place / "data" / "valid" / "00000_info.json").write_text("labels")
    body = (
        "import os, pathlib\nprint(sorted(os.environ))\n"
        "print(sorted(str(p) for p in pathlib.Path('data').rglob('*.json')))\n"
        "print(pathlib.Path('data/valid_grader/questions_qa_pairs.json').read_text())\n"
        "return ['0'] * 10"
    )
    out, _ = graded(model(body), "-vv")
    assert "HF_TOKEN" not in out and "MY_PASSWORD" not in out
    assert "['data/valid_grader/questions_qa_pairs.json']" in out
    assert out.count('"answer": "hidden"') == 20 and '"answer": "1"' not in out


def test_data_inside_what_may_be_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "lib" / "data").mkdir(parents=True)
    with pytest.raises(ValueError, match="lib"):
        places.readable(tmp_path / "private", [tmp_path / "lib" / "data"], own())
    places.readable(tmp_path / "private", [tmp_path / "data"], own())  # beside it is fine


def test_private_folders_inside_what_may_be_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "lib" / "tmp"))
    (tmp_path / "lib" / "tmp").mkdir(parents=True)
    with pytest.raises(ValueError, match="lib/tmp: lies inside"):
        places.readable(tmp_path / "lib" / "tmp" / "private", [], own())


def test_an_earlier_log_is_out_of_reach(place, capsys, monkeypatch):
    write_files(place / "logs", {"earlier.txt": "correct_answer", "package.py": ""})
    monkeypatch.setenv("PYTHONPATH", str(place / "logs"))
    body = f"open({str(place / 'logs' / 'earlier.txt')!r})"
    log, path = place / "logs" / "log.txt", make_zip(place / "ID.zip", model(body))
    assert main([str(path), "--data_dir", str(place / "data"), "--log_path", str(log)]) == 0
    result = json.loads(log.read_text().splitlines()[-1])
    assert failure(result, capsys.readouterr().out)[1].startswith("PermissionError: tried to read")


@pytest.mark.parametrize(
    "name",
    ["", "valid_grader", "valid", "valid_grader/a_qa_pairs.json", "valid/00001_00_im.jpg",
     "valid/00001_info.json"],
)  # fmt: skip
def test_labels_are_out_of_reach_whatever_is_a_link(place, capsys, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "hub"))
    (place / "hub").mkdir()
    (place / "data/valid/00001_info.json").touch()
    linked = place / "data" / name
    linked.rename(place / "hub" / "moved")
    linked.symlink_to(place / "hub" / "moved")
    path = make_zip(place / "ID.zip")
    assert main([str(path), "--data_dir", str(place / "data")]) == 1
    err = capsys.readouterr().err
    assert f"error: {linked}: lies inside {place / 'hub'}, which a submission may read" in err
    assert err.count("\n") == 1 and not list((place / "tmp").iterdir())


def test_a_link_to_what_may_not_be_read_is_fine(place, graded):
    (place / "data/valid").rename(place / "pictures")
    (place / "data/valid").symlink_to(place / "pictures")
    assert graded()[1]["total"] == 105


def test_a_failing_lock_grades_nothing(place, capsys, monkeypatch):
    monkeypatch.setattr(places, "devices", lambda: [7])  # not a path
    path = make_zip(place / "ID.zip")
    assert main([str(path), "--data_dir", str(place / "data")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the child process could not be locked: ")
    assert err.count("\n") == 1 and not list((place / "tmp").iterdir())
