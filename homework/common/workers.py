"""Work through a list in several processes; the results come back in the list's order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

AHEAD = 2  # items submitted per process, so that no process waits for its next item

_function: Callable[[Any], Any]  # what a worker process applies to each item


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def chunks(items: Sequence, num_workers: int, largest: int = 32) -> list[Sequence]:
    """Cut `items` into runs, several for each worker and none longer than `largest`."""
    size = max(1, min(largest, len(items) // (8 * num_workers)))
    return [items[start : start + size] for start in range(0, len(items), size)]


@contextmanager
def ordered_map(
    function: Callable[[Any], Any], items: Sequence, num_workers: int
) -> Iterator[Iterator[Any]]:
    """`map(function, items)` in `num_workers` processes, which end with the block.

    The processes are forks, so `function` may be a closure; items and results must pickle.
    Where the system cannot fork, this process does the work. What `function` raises is raised here;
    InputError if a process was killed.
    """
    num_workers = min(num_workers, len(items))
    if num_workers <= 1 or sys.platform == "win32":
        yield map(function, items)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(num_workers, fork, _start_worker, (function,))
    # Workers inherit this mask: a terminal sends Ctrl-C to every process, and only this one stops.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        window = deque(pool.submit(_call, item) for item in items[: AHEAD * num_workers])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield _results(pool, window, items[len(window) :])
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed (out of memory?); try --num_workers 1"
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        pool.shutdown(cancel_futures=True)


def _results(pool: Executor, window: deque, rest: Sequence) -> Iterator[Any]:
    """Results in order. Unlike `pool.map`, submits an item only when a result is taken."""
    for item in rest:
        result = window.popleft().result()
        window.append(pool.submit(_call, item))
        yield result
    while window:
        yield window.popleft().result()


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    # The pool's workers would outlive a killed parent: each holds the others' end of its queue.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)
