"""The main job where the system is as on Windows, as far as Linux can show it.

`windows/sitecustomize.py` says what is missing there, and which rules files follow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_submission import GOOD, make_zip, write_data

ROOT = Path(__file__).resolve().parent.parent
SHIM = ROOT / "tests" / "windows"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def run(tmp_path):
    """Run a command of the project as on Windows, in a folder with a copy of what it needs."""

    def command(*words: object, code: int = 0, cwd: Path = ROOT) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env={
                **os.environ,
                "PYTHONPATH": str(SHIM),
                "PYTHON_WINDOWS_FILES": str(tmp_path),
                "PYTHONWARNDEFAULTENCODING": "1",
                # No UTF-8 anywhere: stricter than Windows' cp1252.
                **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                "MPLBACKEND": "agg",
            },
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return command


SEEN = """
import sys
sys.argv = ["x"]
import {module} as ours
print(ours.sys.platform, ours.os.name, hasattr(ours.os, "fork"), hasattr(ours.os, "getpid"))
import sys
print(sys.platform)
"""


def test_the_project_sees_windows_and_nobody_else_does(run):
    out = run("-c", SEEN.format(module="grader.usage"))
    assert out.split() == ["win32", "nt", "False", "True", "linux"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("open('aux.txt', 'w', encoding='utf-8')", "no name for a file"),
        ("open('a:b', 'wb')", "no name for a file"),
        ("open('Train', 'wb').close(); open('train', 'wb')", "the same file as Train"),
        ("import os; f = open('x', 'wb'); os.replace('x', 'y')", "in use by this process"),
        ("import os; f = open('x', 'wb'); os.unlink('x')", "in use by this process"),
        ("open('x', 'w')", "EncodingWarning"),
    ],
)
def test_files_follow_the_rules_of_windows(run, tmp_path, code, message):
    (tmp_path / "x.py").write_text(code, encoding="utf-8")
    with pytest.raises(AssertionError, match=message):
        run("x.py", cwd=tmp_path)


@pytest.fixture
def kit(tmp_path, sample_data, base) -> Path:
    """A copy of the project with a tiny embedded base and a few frames."""
    folder = tmp_path / "kit"
    kept_out = shutil.ignore_patterns("vlm_model", "embedded_base", "__pycache__")
    for name in ("homework", "grader"):
        shutil.copytree(ROOT / name, folder / name, ignore=kept_out)
    shutil.copy(ROOT / "bundle.py", folder)
    shutil.copytree(base, folder / "homework" / "embedded_base")
    for number, info in enumerate(sorted(sample_data.glob("train/*_info.json"))):
        split = folder / "data" / ("train" if number < 2 else "valid")
        split.mkdir(parents=True, exist_ok=True)
        for file in info.parent.glob(f"{info.name.split('_')[0]}_*"):
            shutil.copy(file, split)
    return folder


@pytest.mark.slow
def test_the_main_job(run, kit):
    view = f"--info_file={min((kit / 'data' / 'valid').glob('*_info.json'))}"
    generate_qa, finetune = ("-m", "homework.generate_qa"), ("-m", "homework.finetune")
    grading = ("ID.zip", "--log_path=log.txt")
    for command in (
        (*generate_qa, "check", view, "--view_index=0", "--save=check.png"),
        (*generate_qa, "generate", "--num_workers=2"),
        (*generate_qa, "balance", "--split=valid", "--per_kind=5"),
        (*generate_qa, "explore"),
        (*generate_qa, "export", "messages", "--output=pairs.jsonl"),
        (*finetune, "demo_train"),
        (*finetune, "train", "--max_steps=2", "--save_steps=1", "--lora_r=4"),
        (*finetune, "train", "--max_steps=3", "--save_steps=1", "--lora_r=4"),  # in its place
        (*finetune, "test", "homework/vlm_model", "--report=report", "--save_predictions=p.jsonl"),
        ("bundle.py", "homework", "ID"),
        ("bundle.py", "homework", "ID"),
        ("-m", "grader", *grading),
        ("-m", "grader", *grading),
    ):
        out = run(*command, cwd=kit)
        if command[2:3] == ("train",):
            assert "wrote homework" in out.replace(str(kit) + "/", "")
    result = json.loads((kit / "log.txt").read_text("utf-8").splitlines()[-1])
    assert {case["status"] for case in result["cases"]} == {"ok"}, result["cases"]
    assert (result["lock"]["active"], result["denied"]) == (["Python audit hook"], [])


@pytest.mark.slow
def test_the_grader_says_which_lock_it_has(run, tmp_path):
    write_data(tmp_path / "data")
    submission = make_zip(tmp_path / "ID.zip", GOOD)
    log = tmp_path / "log.txt"
    out = run("-m", "grader", submission, f"--data_dir={tmp_path / 'data'}", f"--log_path={log}")
    assert "Locked by: Python audit hook (without resource limits: Windows has none; " in out
    assert "stops mistakes but no attack, so grade only what you would run yourself" in out
    assert json.loads(log.read_text("utf-8").splitlines()[-1])["total"] == 105
