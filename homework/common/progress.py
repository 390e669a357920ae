"""How far long work is, told by time: every few seconds, with the rate and the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from .distributed import is_main, print0

FIRST_MINUTE = 5.0  # seconds between two lines in it
LATER = 9.0


def duration(seconds: float) -> str:
    """A time for people, of two digits or so: "40 s", "15 min", "3.4 h", "42 h", "11 days"."""
    for length, unit in ((1, "s"), (60, "min"), (3600, "h")):
        number = seconds / length
        limit = {"s": 100, "min": 100, "h": 72}[unit]
        if number < limit:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "s" else f"{number:.1f} {unit}"
    return f"{seconds / 86_400:.0f} days"


class Heartbeat:
    """Prints a line every few seconds while its block runs, however long one operation takes.

    Args:
        line: what to print now; None for nothing. A second thread calls it.
    """

    def __init__(self, line: Callable[[], str | None]) -> None:
        self._line, self._end = line, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._start = self._last = time.monotonic()
        if is_main():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a line."""
        return time.monotonic() - self._last >= self._every

    def say(self, text: str) -> None:
        """Print a line at once; the next comes a few seconds after it."""
        self._last = time.monotonic()
        print0(text)

    @property
    def _every(self) -> float:
        return FIRST_MINUTE if time.monotonic() - self._start < 60 else LATER

    def _beat(self) -> None:
        while not self._end.wait(max(0.05, self._last + self._every - time.monotonic())):
            if self.is_due and (text := self._line()):
                self.say(text)


class Progress:
    """Lines on standard error about work of a known size; none where it takes a few seconds.

    It needs no thread, and so goes where none may be started: it prints when something is done.

    Args:
        what: the work, such as "answers 120 questions".
        total: how many `unit` there are.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, 0
        self._start = self._last = time.monotonic()

    def add(self, number: int) -> None:
        """So many more are done."""
        self.done += number
        now = time.monotonic()
        if not is_main() or now - self._last < FIRST_MINUTE / 2 or self.done >= self.total:
            return
        rate = self.done / (now - self._start)
        first = self._last == self._start
        whole = f"{self.what}: about {duration(self.total / rate)}\n" if first else ""
        self._last = now + FIRST_MINUTE / 2
        left = duration((self.total - self.done) / rate)
        line = f"{self.done} of {self.total} {self.unit}, {rate:.2g} a second, {left} left"
        print(whole + line, file=sys.stderr, flush=True)
