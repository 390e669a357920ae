"""What the tests share; and `pytest` alone, too, finds the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grading import graded, place  # noqa: F401 (fixtures)
from helpers import make_split


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder: `train/` with six frames, `valid/` with two of other line-ups."""
    make_split(tmp_path / "data" / "train", frames=6, seed=0)
    make_split(tmp_path / "data" / "valid", frames=2, seed=1)
    return tmp_path / "data"
