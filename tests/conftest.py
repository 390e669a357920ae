"""What the tests share; and `pytest` alone, too, finds the package."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side: one thread of torch for each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataset_server import server  # noqa: F401 (fixture)
from grading import graded, place  # noqa: F401 (fixtures)
from helpers import make_split
from recorded import installed  # noqa: F401 (fixture)
from trainings import (  # noqa: F401 (fixtures)
    base,
    finished_run,
    four_steps,
    labelled,
    options,
    runs,
    sample_data,
    smolvlm_shape,
    trained,
    undrawn_curves,
    unfinished,
    unfinished_run,
)

# Under nohup, or in the background of a script, these are ignored, and so they would be in each
# process that a test starts and stops.
for name in ("SIGINT", "SIGHUP"):
    number = getattr(signal, name, None)
    if number and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder: `train/` with six frames, `valid/` with two of other line-ups."""
    make_split(tmp_path / "data" / "train", frames=6, seed=0)
    make_split(tmp_path / "data" / "valid", frames=2, seed=1)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reaches for the network unasked: a test that does fails here, by address."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise AssertionError(f"tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    # A hub cache of the user's could hold a SmolVLM, which would then be the default base.
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    monkeypatch.setattr("homework.model.loading._in_hub_cache", lambda name: None)
