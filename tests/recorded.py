"""A recorder for the tests, with a tape in place of the engine."""

import json
import sys
from pathlib import Path

import pytest

from lab import record
from lab.recording import recorder, setup
from lab.recording.setup import Installation

TAPE = Path(__file__).with_name("tapes") / "lighthouse.jsonl"
KARTS = ("gnu", "kiki", "tux")
FRAMES = [json.loads(line)["frame"] for line in TAPE.read_text().splitlines()[:3]]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation whose engine is the tape; the file that makes trouble."""
    trouble = tmp_path / "trouble"
    python = tmp_path / "python"
    fake = Path(__file__).with_name("fake_engine.py")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "{TAPE}" "{trouble}"\n')
    python.chmod(0o755)
    installation = Installation(python, tmp_path, {"pystk": "1.1.2"})
    monkeypatch.setattr(setup, "find_installation", lambda: installation)
    monkeypatch.setattr(recorder, "FRAME_SECONDS", 1)
    return trouble


def run(folder, views=12, **options):
    record.run(views, str(folder), "lighthouse", ",".join(KARTS), **options)
