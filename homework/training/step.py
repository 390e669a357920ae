"""One optimizer step, with its gradients summed over the processes; means and measurements."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

from ..common import distributed, machine
from ..common.errors import InputError
from ..data import ALL, Accuracy
from .checkpoints import steps_between

MAX_NORM = 1.0  # of the gradient; a longer one is scaled down to it
SCALE = 2.0**10  # of the loss in float16, to begin with: torch's own, 2^16, skips the first steps
MEASUREMENTS = 8  # on held-out images, in a run, however short
SHARE = 0.03  # of the time of a run, about, for all of them
COST = 0.4  # time of a measured image against one that is learned: it has no backward pass
NAMED = 4  # images of a batch that an error names
LEAST = 32  # images that are measured, however short the run

Means = dict[str, tuple[torch.Tensor | float, float]]  # name -> (sum, count)


class MicroBatch(Protocol):
    """What goes through the model at a time."""

    @property
    def weight(self) -> float: ...  # of its loss in the step's mean

    @property
    def paths(self) -> Sequence[str]: ...  # of its images


Batch = TypeVar("Batch", bound=MicroBatch)


class Task(Protocol[Batch]):
    """What a training consists of, besides the loop.

    Attributes:
        weights: the trained weights by name.
        buffers: what else of the model changes during training.
        optimizers: of these weights.
        settings: how a step is computed, as JSON has it; changes rounding alone.
        steps: optimizer steps of the whole training.
        device, dtype: where the passes run, and the precision of their matrix products.
    """

    weights: dict[str, torch.nn.Parameter]
    buffers: dict[str, torch.Tensor]
    optimizers: Sequence[torch.optim.Optimizer]
    settings: dict[str, Any]
    steps: int
    device: str
    dtype: torch.dtype

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0; a group's "rate_scale" multiplies it."""
        ...

    def batches(self, first: int) -> Iterator[list[Batch]]:
        """The micro-batches of this process in each step from `first` on."""
        ...

    def loss(self, micro_batch: Batch, /) -> tuple[torch.Tensor, Means]:
        """Weighted sum of losses; name -> (sum, count) of other means to log."""
        ...

    def smaller(self, micro_batches: Sequence[Batch], /) -> list[Batch]:
        """The same images in smaller micro-batches, once memory has run out; or an InputError."""
        ...

    def measure(self, step: int) -> HeldOutResult | None:
        """Loss and accuracy on the held-out images, if any; the same in every process."""

    def line(self, record: dict[str, float], steps_per_second: float | None) -> str:
        """The line that shows a record; the rate is None if it is a record of held-out images."""
        ...


class Stepper:
    """Takes the optimizer steps of a task.

    In float16 small gradients would be 0: the loss is multiplied by a factor that adapts itself
    (torch.amp.GradScaler), and a step whose gradients overflow all the same changes no weight.

    Attributes:
        scaler: of the loss; disabled but in float16.
        done: micro-batches of the current step that have gone through the model.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed, self.done = task, seed, 0
        half = task.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(task.device, SCALE, growth_interval=200, enabled=half)

    def take(
        self, micro_batches: Sequence[MicroBatch], step: int
    ) -> tuple[dict[str, float], list[Means]]:
        """Take one step, counted from 0, on all processes' micro-batches.

        Returns:
            "learning_rate", and "grad_norm" but where a step in float16 has changed nothing; the
            means of each micro-batch and one for the step.

        Raises InputError if the loss or the gradient is not finite.
        """
        weights, rate = list(self.task.weights.values()), self.task.learning_rate(step)
        [weight] = distributed.total([sum(batch.weight for batch in micro_batches)])
        backward = partial(self._backward, step, weight)
        means = machine.in_memory(backward, micro_batches, self._smaller)
        means.append({"loss": (0, 1 / distributed.world_size())})
        distributed.sum_gradients(weights)
        for optimizer in self.task.optimizers:
            self.scaler.unscale_(optimizer)
        gradient = torch.nn.utils.clip_grad_norm_(weights, MAX_NORM)
        numbers = {"learning_rate": rate}
        if torch.isfinite(gradient):
            numbers = {"grad_norm": gradient.item(), **numbers}
        elif not self.scaler.is_enabled() or self.scaler.get_scale() < 1:
            paths = [path for micro_batch in micro_batches for path in micro_batch.paths]
            raise _not_finite("gradient", step, paths)
        for optimizer in self.task.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate_scale", 1.0)
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        return numbers, means

    def _smaller(self, micro_batches: Sequence[MicroBatch]) -> Sequence[MicroBatch]:
        for optimizer in self.task.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return self.task.smaller(micro_batches)

    def _backward(
        self, step: int, weight: float, micro_batches: Sequence[MicroBatch]
    ) -> list[Means]:
        """Add up the gradients of all micro-batches."""
        # Dropout depends on seed, step and process alone, and a resumed run draws the same.
        drawn = f"{self.seed}/{step}/{distributed.rank()}"
        torch.manual_seed(random.Random(drawn).getrandbits(63))
        means: list[Means] = []
        for self.done, micro_batch in enumerate(micro_batches):
            loss, others = self.task.loss(micro_batch)
            # Before any number is read: a GPU is waited for there.
            self.scaler.scale(loss / weight).backward()
            if not torch.isfinite(loss):
                raise _not_finite("loss", step, list(micro_batch.paths))
            means.append({"loss": (loss.item() / weight, 0), **others})
        return means


def _not_finite(what: str, step: int, images: list[str]) -> InputError:
    """The error that stops training before an optimizer step with this loss or gradient."""
    named = ", ".join(images[:NAMED]) + (", ..." if len(images) > NAMED else "")
    return InputError(
        f"step {step}: the {what} of this batch is not finite: {named}; lower --learning_rate or "
        "repair or remove these images (the last checkpoint is kept)"
    )


# --- what a training measures ---


class HeldOutResult(NamedTuple):
    """Loss and accuracy on held-out images."""

    loss: float  # mean over the questions
    kinds: dict[str, tuple[int, int]]  # kind of question -> (answered right, asked)

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
    return steps_between(steps, least=MEASUREMENTS)


def images_measured(steps: int, images: int) -> int:
    """Held-out images of a measurement, so that all of them take a small share of the run."""
    measurements = -(-steps // measure_steps(steps))
    return max(LEAST, int(SHARE / COST * steps * images / measurements))


def is_stalled(log: Iterable[Mapping[str, float]], patience: int) -> bool:
    """Whether the held-out accuracy has not risen in `patience` measurements; never if 0."""
    found = [record["eval_accuracy"] for record in log if "eval_accuracy" in record]
    return bool(found) and 0 < patience <= len(found) - 1 - found.index(max(found))
