"""The notebooks run from top to bottom, on their smallest settings."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import clone

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_shipped_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_the_notebooks_import_modules_that_are_there():
    for path in NOTEBOOKS.glob("*.ipynb"):
        for module in re.findall(r"from (homework[\w.]*) import", path.read_text()):
            assert find_spec(module), f"{path.name}: {module}"


def run(name: str, place: Path, *needed: str) -> tuple[str, int]:
    """Run a notebook in a copy of what it needs; what it printed, and the number of images."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    clone(place, *needed)
    (place / "notebooks").mkdir()
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(place / "notebooks")}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    images = sum("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") for output in outputs), images


@pytest.fixture(autouse=True)
def no_index(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # should a version differ, pip does not go out


@pytest.mark.slow
def test_the_quick_start_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_STEPS", "2")
    printed, images = run("quickstart.ipynb", tmp_path, "requirements.txt")
    assert "95% interval" in printed and "questions/s" in printed
    assert images == 3  # the labelled frame, the curves, the heat map
    assert (tmp_path / "runs" / "report" / "index.html").stat().st_size > 50_000


@pytest.mark.slow
def test_the_notebook_for_colab_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """With the embedded base on the shipped frames, up to the points of the grader."""
    settings = {
        "BASE": "embedded_base",
        "TRAIN": "sample",
        "TEST": "sample_valid_grader",
        "OPTIONS": "--max_steps 2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"NOTEBOOK_{name}", value)
    # `python` in a hosted notebook is the kernel's own.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    needed = ("grader", "bundle.py", "pyproject.toml")
    printed, images = run("colab.ipynb", tmp_path, *needed)
    assert "95% interval" in printed and "my_id.zip" in printed
    assert "Total: " in printed and "not run" not in printed
    assert images == 1  # the curves
    assert (tmp_path / "runs" / "report" / "index.html").stat().st_size > 50_000
