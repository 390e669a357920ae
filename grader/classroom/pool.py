"""Runs the gradings of a class, several at a time, each in its own slot; and a progress line."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..slot import ClassSlot, Slot, Stopped

Item = TypeVar("Item")
_LINE_EVERY_S = 10.0  # where the output is no terminal


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
