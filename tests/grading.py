"""Fixtures and helpers of the grader's tests."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fake_submission import GOOD, make_zip, write_data

from grader.__main__ import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `data/` of 10 questions; temporary folders go to its `tmp/`.

    The small submissions need none of the packages, which take seconds to import.
    """
    write_data(tmp_path / "data")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("grader.interpreter.BEFORE_THE_LOCK", ())
    return tmp_path


@pytest.fixture
def graded(place: Path, capsys: pytest.CaptureFixture[str]):
    """Grade files or a path as the command does: (output, the JSON result)."""

    def run(what=GOOD, *options: str) -> tuple[str, dict]:
        path = what if isinstance(what, Path) else make_zip(place / "ID.zip", what)
        log = place / "log.txt"
        code = main(
            [str(path), "--data_dir", str(place / "data"), "--log_path", str(log), *options]
        )
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        assert not list((place / "tmp").iterdir()), "the private folder must go"
        return out, json.loads(log.read_text().splitlines()[-1])

    return run


def model(body: str) -> dict[str, str]:
    """A submission whose model's `answer` has this body."""
    lines = "\n        ".join(body.splitlines())
    return GOOD | {
        "vlm.py": "class Model:\n    def answer(self, image_paths, questions):\n        "
        f"{lines}\ndef load_vlm():\n    return Model()\n"
    }


def failure(result: dict, out: str) -> tuple[str, str]:
    """The name and the detail of the one failed case; checks that the rest fits."""
    failed = [case for case in result["cases"] if case["status"] == "failed"]
    assert len(failed) == 1 and failed[0]["points"] == 0
    after = result["cases"][result["cases"].index(failed[0]) + 1 :]
    assert all(case["status"] == "not run" for case in after)
    assert "Total: " in out and "Traceback" not in out.split("from the submission")[0]
    return failed[0]["name"].split(":")[0], failed[0]["detail"]


def gone(pid: int) -> bool:
    """Whether a process ends within a few seconds; one that nobody waits for has ended too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False
