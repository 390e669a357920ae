"""What is installed: versions of Python and of the packages, and every file of the package."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import quickstart

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


RANGE = re.compile(r"([a-z_]+)>=([\d.]+),<([\d.]+)")


def pins(name: str) -> dict[str, str]:
    """The versions that a file of requirements pins, by package."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line[0] != "#")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_both_ends_of_the_ranges_are_what_ci_tests():
    matches = [RANGE.fullmatch(line) for line in PROJECT["project"]["dependencies"]]
    ranges = {match[1]: (match[2], match[3]) for match in matches}
    assert {name: low for name, (low, _) in ranges.items()} == pins("requirements-oldest.txt")
    tested = pins("requirements.txt")
    assert tested.keys() == ranges.keys()
    for name, (low, end) in ranges.items():
        assert numbers(low) <= numbers(tested[name]) < numbers(end), name
    ci = (ROOT / ".ci" / "run").read_text()
    assert "requirements-oldest.txt" in ci and "requirements-dev.txt" in ci


def test_a_hosted_machine_keeps_its_torch():
    """Colab's of autumn 2026, and the course's."""
    low, end = RANGE.fullmatch(PROJECT["project"]["dependencies"][0]).group(2, 3)
    assert all(numbers(low) <= version < numbers(end) for version in ((2, 11, 0), (2, 6, 0)))


def test_the_versions_of_python_are_the_same_everywhere():
    low, end = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert tuple((3, minor) for minor in range(int(low), int(end))) == quickstart.PYTHONS
    named = [f"3.{minor}" for _, minor in quickstart.PYTHONS]
    words = f"Python {', '.join(named[:-1])} or {named[-1]}"
    assert words in quickstart.__doc__ and words in (ROOT / "README.md").read_text()


def test_the_environment_of_conda_is_requirements_txt():
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
