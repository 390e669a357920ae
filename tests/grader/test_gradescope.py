"""Gradescope: its results.json, and the zip that makes an autograder."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, VLM, make_zip, write_files

from grader import interpreter
from grader.__main__ import main

make_autograder = runpy.run_path(str(ROOT / "gradescope" / "make_autograder.py"))["main"]

# The fields and their types: https://gradescope-autograders.readthedocs.io/en/latest/specs/
FIELDS = {
    "score": float, "execution_time": float, "output": str, "visibility": str,
    "stdout_visibility": str, "extra_data": dict, "tests": list, "leaderboard": list,
}  # fmt: skip
OF_A_TEST = {
    "name": str, "number": str, "score": float, "max_score": float, "status": str, "output": str,
    "visibility": str, "tags": list,
}  # fmt: skip


@pytest.fixture
def results(place, capsys):
    """Grade a folder of uploads as `run_autograder` does: the content of results.json."""

    def run() -> dict:
        output = place / "results.json"
        options = ["--format", "gradescope", "--output", str(output)]
        code = main([str(place / "up"), "--data_dir", str(place / "data"), *options])
        assert (code, capsys.readouterr().err) == (0, "")
        return json.loads(output.read_text())

    (place / "up").mkdir()
    return run


def test_the_results_have_the_form_that_gradescope_takes(place, results):
    files = GOOD | {"vlm.py": VLM.replace("wrong = 0", "wrong = 5")}
    write_files(place / "up" / "homework", files)
    found = results()
    assert {name: type(value) for name, value in found.items()} == FIELDS
    for test in found["tests"]:
        assert {name: type(value) for name, value in test.items()} == OF_A_TEST
    assert found["score"] == 71.43 == sum(test["score"] for test in found["tests"])
    assert found["output"] == "5 of 10 answers are right (50.0%); full points need 70%."
    assert [test["number"] for test in found["tests"]] == list("123456")
    assert {test["status"] for test in found["tests"]} == {"passed"}
    assert "count: 5 of 10 right" in found["tests"][3]["output"]
    assert found["leaderboard"] == [{"name": "Accuracy (%)", "value": 50.0}]
    assert (found["visibility"], found["stdout_visibility"]) == ("visible", "hidden")


def test_a_failure_is_told_with_its_reason_and_without_a_place_on_the_leaderboard(place, results):
    write_files(place / "up" / "homework", GOOD | {"vlm.py": "import nothing"})
    found = results()
    assert found["score"] == 0 and "leaderboard" not in found
    assert "No module named 'nothing'" in found["output"]
    assert [t["status"] for t in found["tests"]] == ["passed"] + ["failed"] * 5
    assert found["tests"][2]["output"] == "not run"


@pytest.mark.parametrize("upload", ["packed", "beside a report", "another name", "the package"])
def test_the_submission_is_found_however_it_was_uploaded(place, results, upload):
    folder = place / "up"
    if upload in ("packed", "beside a report"):
        make_zip(folder / "jd42.zip")
    if upload == "beside a report":
        (folder / "report.pdf").touch()
    if upload == "another name":
        write_files(folder / "hw4", GOOD)
    if upload == "the package":
        write_files(folder, GOOD)
    assert results()["score"] == 105


@pytest.mark.parametrize("options", [["--format", "gradescope"], ["--output", "x"]])
def test_format_and_output_belong_together(capsys, options):
    with pytest.raises(SystemExit) as stopped:
        main(["x.zip", *options])
    assert stopped.value.code == 2 and "belong together" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_the_autograders_zip_grades_an_upload(place, capsys):
    """As Gradescope does: unpacked into `source`, the upload in `submission`."""
    output = place / "autograder.zip"
    options = ["--data_dir", str(place / "data"), "--output", str(output), "--time_limit", "50"]
    assert make_autograder(options) == 0
    assert "give it to no student" in capsys.readouterr().out
    before = output.read_bytes()
    assert make_autograder(options) == 0 and output.read_bytes() == before
    output.write_text("mine")
    assert make_autograder(options) == 1 and output.read_text() == "mine"
    assert "is no result of the grader" in capsys.readouterr().err
    output.unlink()
    assert make_autograder(options) == 0
    capsys.readouterr()

    machine = place / "autograder"
    with zipfile.ZipFile(output) as archive:
        for name in ("setup.sh", "run_autograder"):
            assert archive.getinfo(name).external_attr >> 16 == stat.S_IFREG | 0o755
        archive.extractall(machine / "source")
    shutil.copy(machine / "source" / "run_autograder", machine / "run_autograder")
    (machine / "results").mkdir()
    write_files(machine / "submission" / "homework", GOOD)
    environment = os.environ | {"AUTOGRADER": str(machine), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", str(machine / "run_autograder")], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "of 50 s" in done.stdout
    assert json.loads((machine / "results" / "results.json").read_text())["score"] == 105
    for script in ("setup.sh", "run_autograder"):
        subprocess.run(["bash", "-n", str(ROOT / "gradescope" / script)], check=True)


def test_an_autograder_with_the_courses_packages_runs_submissions_with_them(place, capsys):
    output = place / "autograder.zip"
    arguments = ["--data_dir", str(place / "data"), "--output", str(output), "--course"]
    assert make_autograder(arguments) == 0
    with zipfile.ZipFile(output) as archive:
        assert archive.read("requirements.txt") == interpreter.COURSE_PINS.read_bytes()
        # What setup.sh makes, beside these files, where run_autograder begins.
        assert archive.read("options").decode().splitlines()[-2:] == ["--python", ".venv"]
    setup = (ROOT / "gradescope" / "setup.sh").read_text()
    assert "-m venv .venv" in setup and "torch(vision)?==" in setup


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_no_writer_follows_a_link_in_the_place_of_its_partial_file(place, results, capsys):
    (place / "mine").write_text("kept")
    for name in ("results.json", "autograder.zip"):
        (place / f"{name}.partial").symlink_to("mine")
    write_files(place / "up" / "homework", GOOD)
    assert results()["score"] == 105
    output = place / "autograder.zip"
    assert make_autograder(["--data_dir", str(place / "data"), "--output", str(output)]) == 0
    assert zipfile.is_zipfile(output) and (place / "mine").read_text() == "kept"


def test_a_missing_split_is_one_line(place, capsys):
    assert make_autograder(["--data_dir", str(place / "data"), "--split", "nowhere"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "no questions" in err
    assert not list(Path().glob("autograder.zip*"))
