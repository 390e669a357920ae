"""Who may import whom; the rule itself is in pyproject.toml."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code alone, to add a wrong import to."""
    for name in ("homework", "grader", "lab"):
        ignored = shutil.ignore_patterns("embedded_base", "vlm_model", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(LINT, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_imports_go_down_and_in_no_circle():
    code, output = lint(ROOT)
    assert code == 0, output


@pytest.mark.parametrize(
    "module, line, said",
    [
        ("labels/scene", "from homework.frames import split", "homework.labels is not allowed"),
        ("model/inputs", "from homework import data", "homework.model is not allowed"),
        ("evaluate", "def f():\n    from homework import demo", "homework.evaluate is not allowed"),
        (
            "data",
            "from lab.pretraining import augment",
            "homework is not allowed to import lab",
        ),
        ("data", "import torch", "homework.data is not allowed to import torch"),
        ("stray", "", "homework.stray"),
    ],
)
def test_an_import_against_the_rule_is_named(copy, module, line, said):
    file = copy / "homework" / f"{module}.py"
    with open(file, "a") as opened:
        opened.write(f"\n{line}\n")
    code, output = lint(copy)
    assert code == 1
    assert said in output


def test_the_two_rooms_of_the_lab_are_apart(copy):
    with open(copy / "lab" / "recording" / "plan.py", "a") as opened:
        opened.write("\nfrom lab.pretraining import muon\n")
    code, output = lint(copy)
    assert code == 1
    assert "lab.recording is not allowed to import lab.pretraining" in output


def test_the_grader_imports_nothing_of_the_package(copy):
    with open(copy / "grader" / "report.py", "a") as opened:
        opened.write("\nfrom homework.labels import questions\n")
    code, output = lint(copy)
    assert code == 1
    assert "grader is not allowed to import homework" in output
