"""Kills, of every job that writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of a process")


@pytest.mark.slow
@needs_posix
def test_a_rerun_after_a_kill_ends_with_the_same_files():
    """The short form of benchmarks/kills.py: a few moments for each job."""
    command = [sys.executable, "benchmarks/kills.py", "--moments", "2"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    for job, row in json.loads(ended.stdout.splitlines()[-1])["jobs"].items():
        assert row["kills"] == 2 and row["same"] == row["tries"] and not row["faults"], job
