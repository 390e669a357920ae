"""The time of a GPU run: what is left of it, and how many steps fit into that."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pretraining.task import Pretraining

# Shares of the time. What a stage leaves unused, the next one has beside its own.
SHARES = {"unpack": 0.08, "pretrain": 0.6, "finetune": 0.2, "evaluate": 0.12}
MARGIN = 0.9  # of the time that the timed steps promise
PROBE = 12  # steps of each kind that are timed, at most


class Budget:
    """The seconds of a run, and what is left of them for a stage."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock, self._start = seconds, clock, clock()

    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._start

    def left(self, stage: str) -> float:
        """Seconds until the stage must have ended; what others have left unused is in it."""
        names = list(SHARES)
        until = sum(SHARES[name] for name in names[: names.index(stage) + 1])
        return until * self.seconds - self.spent()


def steps_within(seconds: float, per_step: float, overhead: float = 0.0) -> int:
    """How many steps fit into a time, with a margin; one at least.

    Args:
        per_step, overhead: seconds, as measured.
    """
    return max(int((seconds * MARGIN - overhead) / per_step), 1)


def timed(
    task: Pretraining, seconds: float, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Seconds of a dense step, of one with sentences, and of a measurement.

    The task's weights are spoilt by it.

    Args:
        seconds: of further steps of a kind, once two of them are timed.
    """
    kinds = [_steps(task, first, seconds, clock) for first in (0, task.dense_steps)]
    # The first steps choose kernels and wait for the workers.
    dense, described = (statistics.median(kind[len(kind) // 2 :]) for kind in kinds)
    start = clock()
    task.measure(task.steps)
    return dense, described, clock() - start


def _steps(
    task: Pretraining, first: int, seconds: float, clock: Callable[[], float]
) -> list[float]:
    """Seconds of each of PROBE steps from `first` on, or of fewer if they take long."""
    import torch

    weights = list(task.weights.values())
    times = [clock()]
    for (batch,) in task.batches(first):
        loss, _ = task.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0).item()  # waits for a GPU
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        times.append(clock())
        if len(times) > PROBE or (len(times) > 2 and times[-1] - times[1] > seconds):
            break
    return [after - before for before, after in pairwise(times)]


def until(batches: Callable, end: float, clock: Callable[[], float]) -> Callable:
    """The batches of a task while there is time."""

    def limited(first: int):
        for number, taken in enumerate(batches(first), start=first):
            if clock() > end:
                print(f"the time of pre-training is over after {number} steps", flush=True)
                return
            yield taken

    return limited
