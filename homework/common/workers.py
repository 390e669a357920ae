"""Work through a list in several processes; the results come back in the list's order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from .errors import InputError

AHEAD = 2  # items handed to a process at a time, so that it never waits for the next one


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chunks(items: Sequence, num_workers: int, largest: int = 32) -> list[Sequence]:
    """Cut `items` into runs, several for each worker and none longer than `largest`."""
    size = max(1, min(largest, len(items) // (8 * num_workers)))
    return [items[start : start + size] for start in range(0, len(items), size)]


@contextmanager
def ordered_map(
    function: Callable[[Any], Any], items: Sequence, num_workers: int
) -> Iterator[Iterator[Any]]:
    """`map(function, items)`, in `num_workers` processes that start with the block.

    The processes are forks, so `function` may be a closure; its results must pickle. They end
    with the block, however it ends, and Ctrl-C reaches this process only.

    Raises:
        InputError: a process was killed.
        Exception: whatever `function` raised, with the worker's traceback as a note.
    """
    num_workers = min(num_workers, len(items))
    with _no_collector():
        if num_workers <= 1 or "fork" not in multiprocessing.get_all_start_methods():
            yield map(function, items)
        else:
            with _workers(function, items, num_workers) as connections:
                yield _in_order(connections, len(items))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Parsed JSON has no cycles; looking for them would cost a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _workers(function: Callable, items: Sequence, num_workers: int) -> Iterator[list[Connection]]:
    """Start the processes, yield our ends of their connections, and end them."""
    context = multiprocessing.get_context("fork")
    ours: list[Connection] = []
    processes = []
    # Blocked here, Ctrl-C stays blocked in the forks and no worker prints a traceback.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(num_workers):
            our_end, worker_end = context.Pipe()
            ours.append(our_end)
            arguments = (worker_end, tuple(ours), function, items)
            processes.append(context.Process(target=_work, args=arguments, daemon=True))
            processes[-1].start()
            worker_end.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield ours
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for process in processes:
            process.terminate()
            process.join()
        for connection in ours:
            connection.close()


def _in_order(connections: list[Connection], count: int) -> Iterator[Any]:
    """Hand out the item numbers 0, 1, ... and yield the results in that order."""
    numbers = iter(range(count))
    for _ in range(AHEAD):
        for connection, number in zip(connections, numbers, strict=False):
            connection.send(number)
    early: dict[int, Any] = {}
    for wanted in range(count):
        while wanted not in early:
            for connection in wait(connections):
                try:
                    number, result, error = connection.recv()
                    if (following := next(numbers, None)) is not None:
                        connection.send(following)
                except (EOFError, OSError):
                    raise InputError(
                        "a worker process was killed (out of memory?); try --num_workers 1"
                    ) from None
                if error is not None:
                    raise error
                early[number] = result
        yield early.pop(wanted)


def _work(
    connection: Connection, ours: Sequence[Connection], function: Callable, items: Sequence
) -> None:
    """A worker: take item numbers from `connection` and send back the results."""
    # The forked copies of the parent's ends: with them open, no one would notice its death.
    for end in ours:
        end.close()
    try:
        while True:  # until the parent ends this process
            number = connection.recv()
            try:
                reply = (number, function(items[number]), None)
            except Exception as error:
                error.add_note("in a worker process:\n" + traceback.format_exc())
                reply = (number, None, error)
            connection.send(reply)
    except (EOFError, OSError):
        pass  # the parent has gone, and with it the need for this work
