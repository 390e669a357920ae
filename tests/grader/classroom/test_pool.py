"""Several gradings at a time: what each may use, and how they stop."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from grader.classroom import pool
from grader.usage import Slot


def test_the_first_error_stops_the_others():
    def do(item: int, slot: Slot) -> None:
        if item == 1:
            raise ValueError("first")
        while not slot.stop.is_set():
            time.sleep(0.01)

    with pytest.raises(ValueError, match="first"):
        pool.each([0, 1, 2, 3], 2, 10**9, do)


def test_the_processors_are_given_out_in_turn(monkeypatch):
    monkeypatch.setattr(pool, "processors", lambda: [3, 5])
    seen: list[int | None] = []

    def do(item: int, slot: Slot) -> None:
        seen.append(slot.processor)
        while len(seen) < 3:  # all three slots are in use
            time.sleep(0.01)

    pool.each(range(3), 3, 10**9, do)
    assert sorted(seen) == [3, 3, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one thread")
def test_a_second_stop_waits_for_what_is_ending():
    ended = []
    main = threading.get_ident()

    def press() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    def do(item: int, slot: Slot) -> None:
        time.sleep(0.2)
        if item == 0:
            press()
        slot.stop.wait()
        time.sleep(0.2)
        if item == 0:
            press()
        time.sleep(0.2)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        pool.each([0, 1, 2, 3], 2, 10**9, do)
    assert {*ended} == {0, 1}
