"""Several gradings at a time: whose time counts, how they stop, and the progress line."""

from __future__ import annotations

import threading
import time

import pytest

from grader.classroom import pool
from grader.slot import ClassSlot, Slot, Stopped


def test_time_counts_but_for_waiting_while_others_have_the_processor(monkeypatch):
    slot = ClassSlot(0, 10**9, threading.Event())
    now, seen = [100.0], [(0.0, 0.0)]
    monkeypatch.setattr("grader.slot.time.monotonic", lambda: now[0])
    monkeypatch.setattr("grader.usage.processor_seconds", lambda pid: seen[0])
    start = slot.clock(7)
    for at, found, counted in (
        (110, (10.0, 0.0), 10),  # alone
        (130, (20.0, 10.0), 20),  # a neighbour took half
        (140, (20.0, 10.0), 30),  # asleep
        (150, (30.0, 20.0), 40),  # threads of its own kept it waiting
        (160, None, 50),  # it has ended
    ):
        now[0], seen[0] = float(at), found
        assert slot.clock(7) - start == counted
    now[0], seen[0] = 200.0, (0.0, 0.0)
    start = slot.clock(8)
    now[0] = 201.0
    assert slot.clock(8) - start == 1  # the next process begins anew


def test_the_first_error_stops_the_others():
    def do(item: int, slot: Slot) -> None:
        if item == 1:
            raise ValueError("first")
        while True:
            slot.check()
            time.sleep(0.01)

    with pytest.raises(ValueError, match="first"):
        pool.each([0, 1, 2, 3], 2, 10**9, do)


def test_a_stop_reaches_a_waiting_grading():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        ClassSlot(0, 10**9, stop).check()


def test_the_progress_line_has_a_rate():
    assert pool.progress_text(10, 40, 2, 60) == (
        "graded 10 of 40, 2 without points, 10.0 a minute, 3 min left"
    )
    assert pool.progress_text(40, 40, 2, 240) == "graded 40 of 40, 2 without points, 10.0 a minute"
