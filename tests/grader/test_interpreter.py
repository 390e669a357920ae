"""Submissions run by the Python of another environment: --python and --course."""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, make_zip, write_data, write_files

from grader import interpreter
from grader.__main__ import main
from grader.errors import GraderError

linux = pytest.mark.skipif(sys.platform != "linux", reason="links and scripts of a Unix")
HERE = Path(__file__).resolve().parents[1]


def script(path: Path, text: str) -> Path:
    """A program that a shell runs."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return path


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A virtual environment whose only package is `only_there`."""
    folder = tmp_path_factory.mktemp("other") / "environment"
    venv.create(folder, symlinks=True)
    (site,) = glob.glob(f"{folder}/lib/python*/site-packages")
    write_files(Path(site), {"only_there/__init__.py": "", "only_there/words.txt": "there"})
    return folder


@pytest.fixture
def one_package(monkeypatch) -> None:
    """Submissions need `only_there` and nothing else."""
    monkeypatch.setattr(interpreter, "FOR_SUBMISSIONS", ("only_there",))


# Which interpreter


def test_the_own_one_is_found_as_another(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found, own = interpreter.other(Path(sys.executable)), interpreter.own()
    assert found.python == own.python and found.versions == own.versions
    assert sorted(found.places) == sorted(own.places) and not found.is_own


@linux
@pytest.mark.parametrize("path", ["environment", "environment/bin/python"])
def test_an_environment_is_named_by_its_folder_or_its_program(bare, one_package, path):
    found = interpreter.other(bare.parent / path)
    assert found.executable == str(bare / "bin" / "python")
    assert str(bare / "lib") in found.places and found.versions["torch"] is None


@linux
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such program"),
        ("exit 3", "is no Python of today (it printed nothing)"),
        ("echo cannot start >&2", "is no Python of today (cannot start)"),
        ("""echo '{"python": "3.9.1"}'""", "is Python 3.9.1; give one of 3.10 to 3.13"),
        (f'exec {sys.executable} -S "$@"', "has no numpy, PIL, torch"),
    ],
    ids=["missing", "silent", "broken", "too old", "without packages"],
)
def test_what_is_wrong_with_it_is_one_line_and_nothing_is_graded(place, capsys, text, message):
    program = place / "python"
    if text:
        script(program, text)
    arguments = [str(make_zip(place / "ID.zip")), "--data_dir", str(place / "data")]
    assert main([*arguments, "--python", str(program)]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and f"--python {program}: {message}" in err
    assert "pip install -r" in err or "has no" not in err


def test_python_and_course_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["ID.zip", "--python", "x", "--course"])
    assert "not allowed with argument --python" in capsys.readouterr().err


def test_no_variable_of_this_python_reaches_another_one(bare, one_package, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("VIRTUAL_ENV", "/nonexistent")
    found = interpreter.other(bare)  # with that PYTHONHOME it could not start
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & found.variables().keys()
    assert interpreter.own().variables() == dict(os.environ)


# Grading with it


@linux
def test_the_submission_has_the_packages_of_that_environment_alone(
    bare, one_package, graded, monkeypatch
):
    monkeypatch.setattr(interpreter, "BEFORE_THE_LOCK", ("only_there",))
    init = f"""
import importlib.util, sys
from pathlib import Path
import only_there
assert sys.prefix == {str(bare)!r}
assert Path(only_there.__file__).with_name("words.txt").read_text() == "there"
assert importlib.util.find_spec("pytest") is None
try:
    open({pytest.__file__!r}).read()
except PermissionError:
    pass
"""
    files = GOOD | {"__init__.py": init + GOOD["__init__.py"]}
    out, result = graded(files, "--python", str(bare))
    assert result["total"] == 105, out
    assert f"Run by {bare}/bin/python (Python " in out and "Locked by: resource limits" in out
    assert result["python"]["packages"]["torch"] is None
    if sys.prefix != sys.base_prefix:
        assert len(result["denied"]) == 1 and "tried to read" in result["denied"][0]


@linux
@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_the_lock_works_in_other_versions_of_python(graded, monkeypatch, version):
    found = [
        f"python{version}",
        *glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python")),
    ]
    python = next((p for p in found if runs(p)), None)
    if python is None:
        pytest.skip(f"no Python {version} here")
    monkeypatch.setattr(interpreter, "FOR_SUBMISSIONS", ())
    tries = "try:\n    open('/etc/passwd').read()\nexcept PermissionError: pass\n"
    tries += "import ctypes\nassert ctypes.CDLL(None).socket(2, 1, 0) == -1\n"
    files = GOOD | {"__init__.py": tries + GOOD["__init__.py"]}
    out, result = graded(files, "--python", python)
    assert result["total"] == 105, out
    assert result["python"]["version"].startswith(version)
    assert len(result["denied"]) == 2, out


def runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    except OSError:
        return False


def course_python() -> Path:
    """The course's environment if there is one; else this one stands for it."""
    made = ROOT / interpreter.COURSE
    found = os.environ.get("COURSE_PYTHON") or (made if made.is_dir() else sys.executable)
    return Path(found)


@linux
@pytest.mark.slow
def test_a_submission_like_the_courses_starter_code_is_graded(tmp_path, monkeypatch, capsys):
    """AutoModelForVision2Seq, PEFT, and a base that lies in a private hub cache."""
    from PIL import Image

    python = interpreter.other(course_python())
    folder, data = tmp_path / "up" / "homework", write_data(tmp_path / "data", 4)
    folder.mkdir(parents=True)
    for number, image in enumerate(sorted(data.glob("valid/*.jpg"))):
        Image.new("RGB", (150, 100), (60 * number, 0, 0)).save(image)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    command = [python.executable, "-B", str(HERE / "starter_style.py"), str(folder)]
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    environment = python.variables() | offline
    subprocess.run([*command, str(data / "valid_grader")], env=environment, check=True)
    archive = shutil.make_archive(str(tmp_path / "ID"), "zip", folder.parent)
    log = tmp_path / "log.txt"
    options = ["--data_dir", str(data), "--log_path", str(log), "--python", python.executable]
    assert main([archive, *options]) == 0
    out, result = capsys.readouterr().out, json.loads(log.read_text().splitlines()[-1])
    assert {case["status"] for case in result["cases"]} == {"ok"}, out
    assert len(result["samples"]) == 4 and not result["denied"]
    assert result["python"]["packages"] == python.versions
    # The labels are the answers that it gave outside the grader.
    assert "Total: 105.0" in out


# Making the course's environment


@pytest.fixture
def makes(tmp_path, monkeypatch):
    """Make it in a temporary folder, with nothing installed: the commands."""
    commands: list[list[str]] = []

    def make(fails: type[BaseException] | None = None) -> Path:
        def run(command, **_):
            commands.append([str(word) for word in command])
            if "--clear" in commands[-1]:
                Path(command[-1]).mkdir(exist_ok=True)
            if fails and "pip" in commands[-1]:
                raise fails(1, "pip")

        monkeypatch.setattr(subprocess, "run", run)
        return interpreter.course()

    monkeypatch.setattr(interpreter, "__file__", str(tmp_path / "grader" / "interpreter.py"))
    monkeypatch.setattr(interpreter, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(interpreter, "reachable", lambda url: True)
    make.commands = commands
    return make


def test_the_courses_environment_is_made_once_and_its_size_is_said_first(makes, tmp_path, capsys):
    assert makes() == tmp_path / ".venv-course"
    out = capsys.readouterr().out
    assert "torch==2.6.0" in out and "transformers==4.52.4" in out and "on disk" in out
    installs = [" ".join(command) for command in makes.commands if "install" in command]
    assert installs[-1].endswith(f"install -r {interpreter.COURSE_PINS}")
    assert sys.platform != "linux" or "torch==2.6.0 torchvision==0.21.0 --index-url" in installs[0]
    count = len(makes.commands)
    assert makes() == tmp_path / ".venv-course"
    assert len(makes.commands) == count and not capsys.readouterr().out


def test_other_pins_make_it_anew(makes, tmp_path, monkeypatch):
    makes()
    count = len(makes.commands)
    pins = tmp_path / "pins.txt"
    pins.write_text("torch==2.7.0\n")
    monkeypatch.setattr(interpreter, "COURSE_PINS", pins)
    makes()
    assert len(makes.commands) > count


@pytest.mark.parametrize("fails", [subprocess.CalledProcessError, KeyboardInterrupt])
def test_an_environment_that_could_not_be_made_leaves_nothing(makes, tmp_path, fails):
    expected = KeyboardInterrupt if fails is KeyboardInterrupt else GraderError
    with pytest.raises(expected):
        makes(fails)
    assert not (tmp_path / ".venv-course").exists()
    assert makes().is_dir()


def test_a_folder_of_that_name_that_is_something_else_stays(makes, tmp_path):
    write_files(tmp_path / ".venv-course", {"mine.txt": "kept"})
    with pytest.raises(GraderError, match="is not an environment that --course made"):
        makes()
    assert (tmp_path / ".venv-course" / "mine.txt").read_text() == "kept"
