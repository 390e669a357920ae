"""What a training measures: means of its steps, and results on held-out pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from ..data import ALL, Accuracy
from .checkpoints import steps_between

MEASUREMENTS = 8  # on held-out pictures, in a run, however short
MOST_BETWEEN = 200  # optimizer steps between two of them
SHARE = 0.03  # of the time of a run, about, for all of them
COST = 0.4  # time of a measured picture against one that is learned: it has no backward pass
LEAST = 32  # pictures that are measured, however short the run

Means = dict[str, tuple[torch.Tensor | float, float]]  # name -> (sum, count)


class HeldOutResult(NamedTuple):
    """Loss and accuracy on held-out pictures.

    Attributes:
        loss: mean over the questions.
        kinds: kind of question -> (answered right, asked).
    """

    loss: float
    kinds: dict[str, tuple[int, int]]

    @property
    def accuracies(self) -> list[Accuracy]:
        """What was answered right, of each kind and last of all kinds."""
        right, asked = (sum(numbers) for numbers in zip(*self.kinds.values(), strict=True))
        kinds = (Accuracy(kind, *numbers) for kind, numbers in self.kinds.items())
        return [*kinds, Accuracy(ALL, right, asked)]

    @property
    def accuracy(self) -> float:
        """Share of all questions answered right."""
        return self.accuracies[-1].value

    def record(self) -> dict[str, float]:
        """The numbers by the names under which they are logged."""
        kinds = {f"held-out {kind}": right / asked for kind, (right, asked) in self.kinds.items()}
        asked = self.accuracies[-1].total
        numbers = {"eval_loss": self.loss, "eval_accuracy": self.accuracy, "eval_questions": asked}
        return numbers | kinds

    @property
    def goodness(self) -> tuple[float, float]:
        """More is better: accuracy, and among equals a smaller loss."""
        return self.accuracy, -self.loss


def measure_steps(steps: int) -> int:
    """Optimizer steps between two measurements."""
    return steps_between(steps, MOST_BETWEEN, MEASUREMENTS)


def pictures_measured(steps: int, pictures: int) -> int:
    """Held-out pictures of a measurement, so that all of them take a small share of the run.

    Args:
        pictures: that a step learns from.
    """
    measurements = -(-steps // measure_steps(steps))
    return max(LEAST, int(SHARE / COST * steps * pictures / measurements))


def is_stalled(log: Iterable[Mapping[str, float]], patience: int) -> bool:
    """Whether the held-out accuracy has not risen in the last `patience` measurements.

    Args:
        log: the records of a run.
        patience: 0 for never.
    """
    found = [record["eval_accuracy"] for record in log if "eval_accuracy" in record]
    return bool(found) and 0 < patience <= len(found) - 1 - found.index(max(found))
