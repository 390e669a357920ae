"""Several gradings at a time: what each may use, and how they stop."""

from __future__ import annotations

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
