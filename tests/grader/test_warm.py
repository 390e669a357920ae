"""Processes that are forked from one with the packages imported: as locked and as separate."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_submission import GOOD, VLM, make_zip, write_files
from hostile_submissions import ATTEMPTS, FORGERIES, HONEST, forgery, honest, numbers, submission

from grader import packages, usage
from grader.errors import GraderError
from grader.grade import grade
from grader.report import Report
from grader.slot import Slot
from grader.warm import WarmShare

# An error that names the files which are open: pipes, and what the system has.
OPEN = """
import os
paths = []
for number in range(100):
    try: paths.append(os.readlink(f"/proc/self/fd/{number}").partition(":")[0])
    except OSError: pass
raise ValueError(sorted(paths))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks under Linux alone")


@pytest.fixture
def run(place: Path):
    """Grade files in a slot: (output, result)."""

    def run(files: dict[str, str], slot: Slot | None, time_limit: float = 60) -> tuple[str, dict]:
        path = make_zip(place / "ID.zip", files)
        report = Report(2, out=io.StringIO())
        result = grade(path, place / "data", "valid_grader", time_limit, report, slot=slot)
        return report._out.getvalue(), result

    return run


@pytest.fixture
def slot(place: Path):
    """A share of the machine; nothing may be left of it."""
    with WarmShare(0, 10**9, threading.Event()) as share:
        yield share
    assert not [*(place / "tmp").iterdir()]


def but_for_seconds(result: dict) -> dict:
    cases = [c | {"detail": re.sub(r"[\d.]+ s\b", "", c["detail"])} for c in result["cases"]]
    return result | {"cases": cases}


@pytest.mark.parametrize(
    "files",
    [
        GOOD,
        GOOD | {"vlm.py": VLM.replace("wrong = 0", "wrong = 5")},
        GOOD | {"vlm.py": "import nothing"},
        GOOD | {"vlm.py": "import os\nos._exit(7)"},
        GOOD | {"vlm.py": "import os\nos.kill(os.getpid(), 11)"},
        GOOD | {"vlm.py": "import child"},
        GOOD | {"__init__.py": "import lock\n" + GOOD["__init__.py"], "../lock.py": ""},
        GOOD | {"vlm.py": "import __main__; assert __main__.Submission\n" + VLM},
        GOOD | {"vlm.py": "import os; assert os.getcwd() == os.environ['TMPDIR'][:-4]\n" + VLM},
        GOOD | {"vlm.py": "import os; assert not os.listdir(os.environ['HOME'])\n" + VLM},
        GOOD | {"vlm.py": OPEN},
    ],
    ids=lambda files: "",
)
def test_the_result_is_that_of_a_process_of_its_own(run, slot, files):
    forked, alone = run(files, slot)[1], run(files, None)[1]
    assert but_for_seconds(forked) == but_for_seconds(alone)
    assert but_for_seconds(run(files, slot)[1]) == but_for_seconds(alone)


@pytest.mark.slow
def test_the_lock_stops_in_a_forked_process_what_it_stops_elsewhere(place, run, slot):
    (place / "outside").mkdir()
    (place / "data" / "valid" / "x.py").write_text("")
    secret = place / "outside" / "secret"
    secret.write_text("kept")
    paths = {"data": place / "data", "outside": place / "outside", "secret": secret}
    for attempt in ATTEMPTS:
        out, result = run(submission(attempt, numbers(), **paths), slot)
        assert "| STOPPED" in out and "SUCCEEDED" not in out, attempt.name
        assert result["total"] == 105, attempt.name
        told = attempt.denied and any(re.search(attempt.denied, d) for d in result["denied"])
        assert told or not (attempt.denied or result["denied"]), attempt.name
    for case in FORGERIES:
        assert run(forgery(case), slot)[1]["total"] == 0, case.name
    for name in HONEST:
        result = run(honest(HONEST[name]), slot)[1]
        assert (result["total"], result["denied"]) == (105, []), name
    assert secret.read_text() == "kept"


def test_nothing_that_a_submission_changes_reaches_the_next(run, slot):
    seen = "import json, os\nassert not hasattr(json, 'seen') and 'SEEN' not in os.environ\n"
    change = seen + "json.seen = os.environ['SEEN'] = '1'\n"
    assert run(GOOD | {"vlm.py": change + VLM}, slot)[1]["total"] == 105
    assert run(GOOD | {"vlm.py": change + "json.dumps = None\n" + VLM}, slot)[1]["total"] == 0
    assert run(GOOD | {"vlm.py": seen + VLM}, slot)[1]["total"] == 105


def test_a_hang_is_ended_and_the_next_one_graded(run, slot):
    start = time.monotonic()
    _, result = run(GOOD | {"vlm.py": "while True: pass"}, slot, 1)
    assert "took over 1 s and was stopped" in result["cases"][1]["detail"]
    assert time.monotonic() - start < 30
    assert run(GOOD, slot)[1]["total"] == 105


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
         "2 threads run already"),
        ("import subprocess\nchild = subprocess.Popen(['sleep', '60'])", "a child process runs"),
        ("import os\nfile = os.open(os.devnull, os.O_RDONLY)", "/dev/null is open already"),
        ("import socket\nend = socket.socket()", "socket:.* is open already"),
        ("import mmap\nmemory = mmap.mmap(-1, 4096)", "memory is shared with submissions"),
        ("raise OSError('libcudart.so: no such file')", "OSError: libcudart.so: no such file"),
    ],
    ids=["a thread", "a process", "a file", "a socket", "memory", "an error"],
)  # fmt: skip
def test_nothing_is_forked_that_would_share_something(place, monkeypatch, code, left):
    write_files(place / "site", {"habit.py": code})
    monkeypatch.setenv("PYTHONPATH", str(place / "site"))
    monkeypatch.setattr(packages, "BEFORE_THE_LOCK", ("habit",))
    with (
        pytest.raises(GraderError, match=f"cannot start submissions: .*{left}"),
        WarmShare(0, 10**9, threading.Event()),
    ):
        pass
    assert not [*(place / "tmp").iterdir()]


def test_the_systems_count_of_running_and_waiting_is_read():
    start = time.process_time()
    while time.process_time() < start + 0.1:
        pass
    used, waited = usage.processor_seconds(os.getpid())
    assert used >= 0.1 and waited >= 0
    assert usage.processor_seconds(2**30) is None
