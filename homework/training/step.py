"""What the training loop trains, a task; what it measures; the trackers that get the numbers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import torch

from ..common.errors import InputError
from ..data import ALL, Accuracy
from .checkpoints import steps_between

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

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


def not_finite(what: str, step: int, images: Sequence[str]) -> InputError:
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


# --- trackers of experiments, which get the curves: accelerate's own ---


def check_trackers(report_to: Sequence[str]) -> list[str]:
    """The names of trackers without "none"; InputError if one is unknown or not installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    names = [name for name in report_to if name != "none"]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise InputError(f"--report_to: no tracker {name!r}; there are: {known}, none")
        if name not in [str(tracker) for tracker in get_available_trackers()]:
            raise InputError(f"--report_to: {name} is not installed; pip install {name}")
    return names


def start_trackers(names: Sequence[str], run_dir: Path) -> list[GeneralTracker]:
    """Start trackers, which work in the main process alone; files go to `run_dir`/runs/<time>."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    # One folder a run, or TensorBoard would draw them as one curve.
    folder = str(run_dir / "runs" / time.strftime("%Y%m%d-%H%M%S"))
    trackers = []
    for name in names:
        kind = LOGGER_TYPE_TO_CLASS[name]
        project = "" if name == "tensorboard" else "homework"  # its folder is name enough
        files = {"logging_dir": folder} if kind.requires_logging_directory else {}
        trackers.append(kind(project, **files))
        trackers[-1].start()
    return trackers


def tag(name: str) -> str:
    """A record's name in groups as trackers show them: eval_loss -> eval/loss."""
    tagged = name.replace("eval_", "eval/").replace("held-out ", "held-out/").replace(" ", "_")
    return tagged if "/" in tagged else f"train/{tagged}"
