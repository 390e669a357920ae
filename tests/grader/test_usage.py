"""What a process uses, as the system counts it."""

from __future__ import annotations

import os
import sys
import time

import pytest

from grader import usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_systems_count_of_running_and_waiting_is_read():
    start = time.process_time()
    while time.process_time() < start + 0.1:
        pass
    used, waited = usage.processor_seconds(os.getpid())
    assert used >= 0.1 and waited >= 0
    assert usage.processor_seconds(2**30) is None
