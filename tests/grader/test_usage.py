"""What a process uses, as the system counts it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader import usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_shared_memory_without_a_file_is_counted_whatever_it_is_called():
    maps = b"""\
7f0000000000-7f0000001000 rw-s 00000000 00:01 1035   /dev/zero (deleted)
7f0000001000-7f0000003000 r--s 00000000 00:01 1036   [anon_shmem:heap]
7f0000003000-7f0000004000 rw-p 00000000 00:00 0      [anon:heap]
7f0000004000-7f0000005000 r--s 00000000 fe:00 77     /hub/model.safetensors
7f0000005000-7f0000006000 rw-p 00000000 00:00 0
"""
    assert usage.shared_mappings(maps) == 3 * 4096


@pytest.mark.parametrize("name", ["task", "status", "maps", "meminfo"])
def test_a_reading_that_fails_counts_against_the_process(monkeypatch, name):
    kept = mmap.mmap(-1, 4096)
    assert usage.excess(os.getpid(), 0, 2**60) is None

    def fails(function):
        def instead(path, *arguments):
            if str(path).endswith(name):
                raise PermissionError(13, "refused")
            return function(path, *arguments)

        return instead

    monkeypatch.setattr(os, "listdir", fails(os.listdir))
    monkeypatch.setattr(Path, "read_bytes", fails(Path.read_bytes))
    assert usage.excess(os.getpid(), 0, 2**60) == usage.UNREADABLE
    kept.close()


def test_a_process_that_has_ended_is_over_no_limit():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert usage.excess(process.pid, 0, 0) is None
    process.wait()
