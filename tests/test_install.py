"""`pip install -e .` and environment.yml: one list of packages, and every file of the package."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_the_packages_are_listed_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["dependencies"]
    assert "dependencies" not in PROJECT["project"]
    assert SETUPTOOLS["dynamic"]["dependencies"]["file"] == ["requirements.txt"]
    lines = (ROOT / "environment.yml").read_text().splitlines()
    pip = [line.strip() for line in lines[lines.index("  - pip:") + 1 :]]
    assert pip == ["- -r requirements.txt"] and "  - python=3.12" in lines


def test_the_two_packages_are_found_and_nothing_else():
    setuptools = pytest.importorskip("setuptools")
    find = SETUPTOOLS["packages"]["find"]
    found = setuptools.find_packages(str(ROOT), include=find["include"])
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py")}
    expected = {".".join(f.parts) for f in folders if f.parts[0] in ("homework", "grader")}
    assert set(found) == expected


def test_every_file_that_is_no_module_is_package_data():
    done = subprocess.run(
        ["git", "ls-files", "homework"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    files = {line for line in done.stdout.splitlines() if not line.endswith(".py")}
    if not files:
        pytest.skip("no git here")
    patterns = SETUPTOOLS["package-data"]["homework"]
    packed = {p.relative_to(ROOT).as_posix() for x in patterns for p in ROOT.glob(f"homework/{x}")}
    assert files <= packed


def test_an_installed_grader_needs_nothing_beside_its_package(tmp_path):
    """What `pip install -e .` installs, run in another folder."""
    shutil.copytree(ROOT / "grader", tmp_path / "site" / "grader")
    done = subprocess.run(
        [sys.executable, "-m", "grader", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
