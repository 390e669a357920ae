"""The processes of one command, one or several of `accelerate launch`, and what they print.

    accelerate launch --config_file configs/8_gpus.yaml -m homework.finetune train

Every process runs the same code. Only the first one, the main process, prints and writes files.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import machine
from .errors import InputError, one_line

if TYPE_CHECKING:
    import torch


# What a launcher sets in the environment of each process.
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ALONE = f"for a single process: unset {' '.join(_VARIABLES)}"
EVERY = 5.0  # seconds between two lines of progress
_last_line = time.monotonic()  # when `print0` printed last; to begin with, when this was imported


def rank() -> int:
    """This process's number, from 0."""
    return _launched()[0]


def world_size() -> int:
    """How many processes there are."""
    return _launched()[1]


def _launched() -> tuple[int, int]:
    """Rank and number of processes from the variables of the launcher; 0 and 1 without a launcher.

    Raises InputError if these contradict each other, for example because a shell has kept some.
    """
    number, size = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
    if (number, size) == ("0", "1"):
        return 0, 1
    # Decimal digits, as int() also takes "1_0".
    is_whole = all(map(os.environ.get, _VARIABLES)) and (number + size).isdecimal()
    if not is_whole or int(number) >= int(size):
        raise InputError(f"the environment has {_text()}, which no launcher sets so; {_ALONE}")
    return int(number), int(size)


def _text() -> str:
    found = {name: os.environ.get(name) for name in _VARIABLES}
    return " ".join(f"{name}={value[:80]!r}" for name, value in found.items() if value)


def is_main() -> bool:
    """Whether this process prints and writes."""
    return rank() == 0


def print0(text: str) -> None:
    """Print, in the main process alone."""
    global _last_line
    if is_main():
        _last_line = time.monotonic()
        print(text, flush=True)


def init() -> None:
    """Connect the processes, if there are several; InputError if they cannot reach each other."""
    if world_size() > 1:
        from accelerate import PartialState

        if "TORCHELASTIC_RUN_ID" not in os.environ:  # torchrun and accelerate launch set it
            print(f"waits for the other processes of {_text()}; {_ALONE}", flush=True)
        try:
            PartialState(cpu=machine.choose().device != "cuda")
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{_text()}: the other processes cannot be reached ({one_line(error)}); {_ALONE}"
            ) from None


def wait() -> None:
    """Wait until every process has reached this call."""
    if world_size() > 1:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()


def total(numbers: Sequence[float]) -> list[float]:
    """Sum each number over all processes."""
    return [sum(parts) for parts in zip(*gather(list(numbers)), strict=True)]


def total_by_name(numbers: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Sum the numbers of each name over all processes; some may lack a name."""
    sums: dict[str, list[float]] = {}
    for part in gather(dict(numbers)):
        for name, values in part.items():
            before = sums.get(name, [0.0] * len(values))
            sums[name] = [a + b for a, b in zip(before, values, strict=True)]
    return sums


def sum_gradients(weights: Sequence[torch.nn.Parameter]) -> None:
    """Replace the gradients of weights by their sums over all processes, in one exchange.

    If only some processes have a gradient of a weight, it counts as 0 in the others. A weight
    without a gradient in any process keeps none.
    """
    if world_size() == 1:
        return
    import torch

    parts = [w.new_zeros(w.shape) if w.grad is None else w.grad for w in weights]
    given = torch.tensor([w.grad is not None for w in weights]).to(parts[0])
    flat = torch.cat([given, *(part.flatten() for part in parts)])
    torch.distributed.all_reduce(flat)
    given, *sums = flat.split([len(weights), *(weight.numel() for weight in weights)])
    for weight, total, count in zip(weights, sums, given.tolist(), strict=True):
        weight.grad = total.view_as(weight) if count else None


def from_main(value: Any) -> Any:
    """The main process's value, in every process."""
    if world_size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def gather(value: Any) -> list[Any]:
    """Each process's value, in their order."""
    if world_size() == 1:
        return [value]
    from accelerate.utils import gather_object

    return gather_object([value])


# --- how far long work is, told every few seconds, with the rate and the time left ---


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

    The seconds count from the last line of `print0`, be it before the block. A second thread asks
    `line` what to print, if anything.
    """

    def __init__(self, line: Callable[[], str | None]) -> None:
        self._line, self._end = line, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
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
        return time.monotonic() - _last_line >= EVERY

    def _beat(self) -> None:
        while not self._end.wait(max(0.05, _last_line + EVERY - time.monotonic())):
            if self.is_due and (text := self._line()):
                print0(text)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say every few seconds that a block of unknown length goes on, and how long it has taken."""
    start = time.monotonic()
    with Heartbeat(lambda: f"{what}, {duration(time.monotonic() - start)} so far"):
        yield


class Progress:
    """Lines on standard error about work (`what`) on `total` units; none where it takes seconds.

    It needs no thread, and so goes where none may be started: it prints when something is done.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, 0
        self._start = self._last = time.monotonic()

    def add(self, number: int) -> None:
        """So many more are done."""
        self.done += number
        now = time.monotonic()
        if not is_main() or now - self._last < EVERY / 2 or self.done >= self.total:
            return
        rate = self.done / (now - self._start)
        first = self._last == self._start
        whole = f"{self.what}: about {duration(self.total / rate)}\n" if first else ""
        self._last = now + EVERY / 2
        left = duration((self.total - self.done) / rate)
        line = f"{self.done} of {self.total} {self.unit}, {rate:.2g} a second, {left} left"
        print(whole + line, file=sys.stderr, flush=True)
