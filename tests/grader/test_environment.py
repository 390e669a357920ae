"""What the grader's environment does and lacks is neither the submission's act nor its fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, make_zip, write_files

from grader import interpreter
from grader.__main__ import main

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's layers need Linux")
# As torch's CUDA build does by way of ctypes.util.find_library.
HABIT = """
import os, subprocess, tempfile
with tempfile.NamedTemporaryFile() as file:
    file.write(b"x")
subprocess.run(["true"], check=True)
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
"""
NAMES = {"pillow": "PIL", "pyyaml": "yaml"}


@pytest.fixture
def package(place, monkeypatch):
    """Have the environment hold a package `habit` with this code, imported before the lock."""

    def install(code: str) -> None:
        write_files(place / "site", {"habit.py": code})
        monkeypatch.setenv("PYTHONPATH", str(place / "site"))
        monkeypatch.setattr(interpreter, "BEFORE_THE_LOCK", ("habit",))

    return install


def grade(place: Path, capsys) -> str:
    """The one line that the grader ends with when it cannot work."""
    assert main([str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not list((place / "tmp").iterdir())
    return err


@linux
def test_a_package_of_the_environment_may_do_at_import_what_a_submission_may_not(graded, package):
    package(HABIT)
    out, result = graded(GOOD | {"__init__.py": "import habit\n" + GOOD["__init__.py"]})
    assert (result["total"], result["denied"]) == (105, []), out

    tries = "".join(f"try:\n    {line}\nexcept PermissionError: pass\n" for line in (
        "tempfile.NamedTemporaryFile()", "subprocess.run(['true'])", "os.fork()",
    ))  # fmt: skip
    own = f"import habit, os, subprocess, tempfile\n{tries}" + GOOD["__init__.py"]
    out, result = graded(GOOD | {"__init__.py": own})
    assert [re.sub(": .*init__.py", "", line) for line in result["denied"]] == [
        "tried to write tmp, line 3)",
        "tried to start a process (true), line 6)",
        "tried to start a process, line 9)",
    ], out


@linux
@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
         "2 threads run already"),
        ("import subprocess\nchild = subprocess.Popen(['sleep', '60'])", "a child process runs"),
        ("import tempfile\nfile = tempfile.NamedTemporaryFile()", "tmp.* is open already"),
        ("import socket\nend = socket.socket()", "socket:.* is open already"),
    ],
    ids=["a thread", "a process", "a file", "a socket"],
)  # fmt: skip
def test_nothing_is_graded_with_something_left_that_the_lock_would_not_reach(
    place, capsys, package, code, left
):
    package(code)
    err = grade(place, capsys)
    assert "the child process could not be locked" in err and re.search(left, err), err


@linux
@pytest.mark.parametrize(
    "code",
    ["import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()",
     "import subprocess\nsubprocess.Popen(['true']).pid",
     "import os\nfile = open(os.devnull, 'w')\nmemory = os.memfd_create('x')"],
    ids=["a thread", "a process", "files of its own"],
)  # fmt: skip
def test_what_has_ended_or_leads_nowhere_is_no_obstacle(graded, package, code):
    package(code)
    out, result = graded()
    assert result["total"] == 105, out


def test_nothing_of_the_submission_is_imported_before_the_lock(place, capsys, monkeypatch):
    monkeypatch.setattr(interpreter, "BEFORE_THE_LOCK", ("homework",))
    assert "ModuleNotFoundError: No module named 'homework'" in grade(place, capsys)


def test_a_package_that_cannot_be_imported_is_the_graders_error(place, capsys, package):
    package("raise OSError('libcudart.so: no such file')")
    err = grade(place, capsys)
    assert f"{sys.executable} cannot import its packages: OSError: libcudart.so" in err
    assert "source " in err or "pip install -r " in err


def test_the_packages_are_those_of_the_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line.split("==")[0] for line in lines if line[0] != "#"]
    needed = {NAMES.get(name, name) for name in pinned} - {"orjson"}  # which is optional
    assert sorted(needed) == sorted(interpreter.REQUIRED)
    assert {name.split(".")[0] for name in interpreter.BEFORE_THE_LOCK} <= set(interpreter.REQUIRED)


# Without its site-packages an interpreter is as bare as one outside the environment.
@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "grader", "ID.zip"],
        ["grader", "ID.zip"],
        ["-m", "homework.finetune", "train"],
        ["-m", "homework.generate_qa", "generate"],
        ["-m", "homework.base_vlm", "--help"],
    ],
    ids=" ".join,
)
def test_outside_the_environment_a_command_says_so_in_one_line(arguments):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert sys.executable in done.stderr
    assert "source " in done.stderr or "pip install -r " in done.stderr


@pytest.mark.slow
def test_the_grader_runs_as_a_folder_too(place):
    make_zip(place / "ID.zip")
    command = [sys.executable, str(ROOT / "grader"), "ID.zip", "--data_dir", "data"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Total: 105.0 / 100 (105 at most)\n")
