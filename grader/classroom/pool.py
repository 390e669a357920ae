"""Runs the gradings of a class, several at a time, each in its own slot; and a progress line."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from .. import usage
from ..errors import GraderError
from ..lock import places
from ..slot import ClassSlot, Slot, Stopped

Item = TypeVar("Item")
LEAST_MEMORY = 2_000_000_000  # for each of several submissions, in bytes
_LINE_EVERY_S = 10.0  # where the output is no terminal


def shares(jobs: int | None, memory_gb: float | None) -> tuple[int, int]:
    """How many at a time, and bytes of memory for each.

    Raises:
        GraderError: they need more memory than there is.
    """
    installed = usage.usable_memory()
    if jobs is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        least = int(memory_gb * 1e9) if memory_gb else LEAST_MEMORY
        # Time on a GPU that others use cannot be told apart.
        jobs = 1 if places.gpus() else max(1, min(processors, installed // least))
    memory = int(memory_gb * 1e9) if memory_gb else min(usage.memory_limit(), installed // jobs)
    if jobs * memory > installed:
        raise GraderError(
            f"{jobs} submissions of {memory / 1e9:g} GB need more than the {installed / 1e9:.1f} "
            "GB that can be used here; give a smaller --jobs or --memory"
        )
    return jobs, memory


def each(
    items: Iterable[Item], jobs: int, memory_bytes: int, do: Callable[[Item, Slot], None]
) -> None:
    """Call `do(item, slot)` for every item, at most `jobs` at a time.

    Args:
        memory_bytes: for each slot.

    Raises:
        Exception: the first one that a call raised; the other calls are stopped then.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    jobs = min(jobs, waiting.qsize())
    stop, errors = threading.Event(), []

    def work(number: int) -> None:
        try:
            slot = ClassSlot(number, memory_bytes, stop)
            while not stop.is_set():
                do(waiting.get_nowait(), slot)
        except (queue.Empty, Stopped):
            pass
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # short waits: signals are handled between them
                thread.join(0.2)
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join()
        raise
    if errors:
        raise errors[0]


class Progress:
    """One line that says how far a class is; may be called from several threads.

    Args:
        total: submissions to grade.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._failed = 0
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()
        self._width = 0

    def add(self, failed: bool) -> None:
        """Count one more."""
        with self._lock:
            self._done += 1
            self._failed += failed
            now, last = time.monotonic(), self._done == self._total
            if not sys.stdout.isatty() and not last and now - self._last < _LINE_EVERY_S:
                return
            self._last = now
            text = progress_text(self._done, self._total, self._failed, now - self._start)
            if sys.stdout.isatty():
                self._width = max(self._width, len(text))
                print(f"\r{text:<{self._width}}", end="\n" if last else "", flush=True)
            else:
                print(text, flush=True)


def progress_text(done: int, total: int, failed: int, seconds: float) -> str:
    """The progress line."""
    rate = done / max(seconds, 1e-9) * 60
    left = max(1, round((total - done) / rate)) if rate else 0
    text = f"graded {done} of {total}, {failed} without points, {rate:.1f} a minute"
    return f"{text}, {left} min left" if done < total else text
