"""The notebook runs from top to bottom, on its smallest setting."""

import json
from pathlib import Path

import pytest
from helpers import clone

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


def test_the_notebook_is_shipped_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    clone(tmp_path, "requirements.txt")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("NOTEBOOK_STEPS", "2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # should a pin differ, pip does not go out
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path / "notebooks")}},
    ).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "95% interval" in printed and "questions/s" in printed
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3  # the labelled frame, the curves, the heat map
    assert (tmp_path / "runs" / "report" / "index.html").stat().st_size > 50_000
