"""Runs the gradings of a class, several at a time, each in its own slot."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from .. import usage
from ..errors import GraderError
from ..lock import places
from ..usage import Slot, Stopped

Item = TypeVar("Item")
LEAST_MEMORY = 2_000_000_000  # for each of several submissions, in bytes


def processors() -> list[int]:
    """The numbers of the processors that may be used; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def shares(jobs: int | None, memory_gb: float | None) -> tuple[int, int]:
    """Submissions at a time, and bytes of memory for each; GraderError if the machine has less."""
    usable = usage.usable_memory()
    given = int(memory_gb * 1e9) if memory_gb else 0
    if jobs is None:
        most = 1 if places.gpus() else len(processors())  # a GPU's time cannot be told apart
        jobs = max(1, min(most, usable // (given or LEAST_MEMORY)))
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

    The processors are given out in turn.

    The first exception that a call raises is raised here; the other calls are stopped then.
    """
    stop, slots = threading.Event(), queue.SimpleQueue[Slot]()
    numbers = itertools.cycle(processors() or [None])
    for _ in range(jobs):
        slots.put(Slot(next(numbers), memory_bytes, stop))

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

    left: set[Future[None]] = set()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            left = {pool.submit(work, item) for item in items}
            while left:  # short waits: on Windows signals are handled between them
                done, left = wait(left, 0.2, FIRST_EXCEPTION)
                for one in done:
                    one.result()
        except BaseException:
            stop.set()
            while left:  # they remove their private folders; another Ctrl-C must not cut that off
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    left = wait(left).not_done
            raise
