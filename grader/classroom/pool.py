"""Runs the gradings of a class, several at a time, each in its own slot; and a progress line."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from .. import usage
from ..errors import GraderError
from ..lock import places
from ..slot import ClassSlot, Slot, Stopped

Item = TypeVar("Item")
LEAST_MEMORY = 2_000_000_000  # for each of several submissions, in bytes
_LINE_EVERY_S = 10.0  # where the output is no terminal


def shares(jobs: int | None, memory_gb: float | None) -> tuple[int, int]:
    """Submissions at a time, and bytes of memory for each; GraderError if the machine has less."""
    usable = usage.usable_memory()
    given = int(memory_gb * 1e9) if memory_gb else 0
    if jobs is None:
        processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
        # Time on a GPU that others use cannot be told apart.
        jobs = 1 if places.gpus() else max(1, min(processors, usable // (given or LEAST_MEMORY)))
    memory = given or min(usage.memory_limit(), usable // jobs)
    if jobs * memory > usable:
        raise GraderError(
            f"{jobs} submissions of {memory / 1e9:g} GB need more than the {usable / 1e9:.1f} "
            "GB that can be used here; give a smaller --jobs or --memory"
        )
    return jobs, memory


def each(
    items: Iterable[Item], jobs: int, memory_bytes: int, do: Callable[[Item, Slot], None]
) -> None:
    """Call `do(item, slot)` for every item, at most `jobs` at a time; `memory_bytes` for each.

    The first exception that a call raises is raised here; the other calls are stopped then.
    """
    stop, slots = threading.Event(), queue.SimpleQueue[Slot]()
    for number in range(jobs):
        slots.put(ClassSlot(number, memory_bytes, stop))

    def work(item: Item) -> None:
        slot = slots.get()
        try:
            if not stop.is_set():
                do(item, slot)
        except Stopped:
            pass
        except BaseException:
            stop.set()
            raise
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            left = {pool.submit(work, item) for item in items}
            while left:  # short waits: on Windows signals are handled between them
                done, left = wait(left, 0.2, FIRST_EXCEPTION)
                for one in done:
                    one.result()
        except BaseException:
            stop.set()
            raise


class Progress:
    """One line that says how far a class is; may be called from several threads."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._failed = self._width = 0
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()

    def add(self, failed: bool) -> None:
        """Count one more."""
        with self._lock:
            self._done += 1
            self._failed += failed
            now, last = time.monotonic(), self._done == self._total
            on_terminal = sys.stdout.isatty()
            if not on_terminal and not last and now - self._last < _LINE_EVERY_S:
                return
            self._last = now
            text = progress_text(self._done, self._total, self._failed, now - self._start)
            self._width = max(self._width, len(text))
            line = f"\r{text:<{self._width}}" if on_terminal else text
            print(line, end="" if on_terminal and not last else "\n", flush=True)


def progress_text(done: int, total: int, failed: int, seconds: float) -> str:
    """The progress line."""
    rate = done / max(seconds, 1e-9) * 60
    text = f"graded {done} of {total}, {failed} without points, {rate:.1f} a minute"
    left = max(1, round((total - done) / rate)) if rate else 0
    return f"{text}, {left} min left" if done < total else text
