"""The training loop that fine-tuning and pre-training share.

Each process runs forward and backward passes on its own micro-batches. Once a step, the gradients
are summed over the processes, so that all take the same optimizer step. What is trained, on which
batches, with which loss and optimizers, is the `Task`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..common import distributed
from ..common.distributed import Heartbeat, duration, print0, waiting
from ..common.errors import InputError, one_line
from . import checkpoints
from .checkpoints import Checkpoint
from .step import HeldOutResult, MicroBatch, Stepper, Task, is_stalled, measure_steps

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


class Loop:
    """A training run with its records, measurements and checkpoints.

    Attributes:
        step: optimizer steps taken.
        log: a record every `log_steps` and for each measurement, with "step" and what was logged.
        best: the step that did best on held-out images and what was measured; None without any.
    """

    def __init__(
        self,
        task: Task,
        run_dir: Path,
        recipe: dict[str, Any],
        save_steps: int,
        log_steps: int,
        report_to: Sequence[str] = (),
        keep_best: bool = False,
        overwrite: bool = False,
        patience: int = 0,
        step_seconds: float | None = None,
    ) -> None:
        """
        Args:
            run_dir: where the checkpoints lie; see `checkpoints`.
            recipe: all that changes the result; "seed" is in it.
            save_steps, log_steps: optimizer steps between checkpoints, between records.
            report_to: names of trackers that get the records.
            keep_best: end with the weights that did best on held-out images.
            patience: measurements on held-out images without a rise of the accuracy, after which
                the run ends; 0 for never.
            step_seconds: what a step is expected to take; then the mean of those taken.
            overwrite: what lies in `run_dir` of another run may go.
        """
        self.task, self.run_dir, self.recipe = task, run_dir, recipe
        self.save_steps, self.log_steps, self.keep_best = save_steps, log_steps, keep_best
        self.overwrite, self.step_seconds = overwrite, step_seconds
        self.measure_steps, self.patience = measure_steps(task.steps), patience
        self.report_to, self.trackers = report_to, []
        self._stepper = Stepper(task, recipe["seed"])
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.best: tuple[int, HeldOutResult] | None = None
        self._best_weights: dict[str, torch.Tensor] = {}
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # since the record
        self._passes: Sequence[MicroBatch] = ()  # of the step that is being taken
        self._measures = False

    def run(self) -> None:
        """Take all steps that are left.

        Raises InputError if a loss or a gradient is not finite, or a checkpoint does not fit or is
        of another recipe.
        """
        with waiting("begins"):
            self._resume()
            self.trackers = start_trackers(self.report_to, self.run_dir)
        first, seconds = self.step, 0.0
        with Heartbeat(self._progress) as self._heartbeat:
            since = time.perf_counter()
            for micro_batches in () if self._is_over else self.task.batches(self.step):
                numbers = self._optimizer_step(micro_batches)
                seconds += time.perf_counter() - since
                self.step_seconds = seconds / (self.step - first)
                if self.step == 1 or self.step % self.log_steps == 0:
                    self._record({**self._means(), **numbers})
                if self.step == self.task.steps or self.step % self.measure_steps == 0:
                    self._measure()
                if self._is_over or self.step % self.save_steps == 0:
                    self._save()
                if self._is_over:
                    break
                since = time.perf_counter()
        if self.step < self.task.steps and self._is_over:
            print0(
                f"ends at step {self.step}: the held-out accuracy has not risen in "
                f"{self.patience} measurements (--patience)"
            )
        for tracker in self.trackers:
            tracker.finish()
        if self.keep_best and self.best:
            copy(self._best_weights, self.task.weights)

    @property
    def _is_over(self) -> bool:
        """Whether the last step is taken, as a resumed run finds, too."""
        return self.step == self.task.steps or is_stalled(self.log, self.patience)

    def _optimizer_step(self, micro_batches: list[MicroBatch]) -> dict[str, float]:
        """One step on all processes' micro-batches; the numbers that are logged beside means."""
        self._passes = micro_batches
        numbers, means = self._stepper.take(micro_batches, self.step)
        for each in means:
            for name, (value, count) in each.items():
                self._sums[name][0] += float(value)
                self._sums[name][1] += count
        self.step += 1
        self._passes = ()
        return numbers

    # --- records ---

    def _means(self) -> dict[str, float]:
        """Means over all processes since the record before."""
        sums = self._total_sums()
        self._sums.clear()
        return {name: value / count for name, (value, count) in sums.items()}

    def _total_sums(self) -> dict[str, list[float]]:
        """Sum and count of all means, over all processes."""
        sums: dict[str, list[float]] = {}
        for part in distributed.gather(dict(self._sums)):
            for name, numbers in part.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = [a + b for a, b in zip(before, numbers, strict=True)]
        return sums

    def _record(self, values: dict[str, float]) -> None:
        """Log named numbers of this step, to the trackers and as a line."""
        self.log.append({"step": self.step, **values})
        for tracker in self.trackers:
            tracker.log({tag(name): value for name, value in values.items()}, step=self.step)
        held_out = "loss" not in values
        if held_out or self.step == 1 or self._heartbeat.is_due:
            assert self.step_seconds
            print0(self.task.line(self.log[-1], None if held_out else 1 / self.step_seconds))

    def _progress(self) -> str:
        """Where the run is now and the time left, for a line between two records."""
        step, steps, passes = self.step, self.task.steps, len(self._passes)
        if self._measures:
            line = f"step {step}/{steps}  measures on held-out images"
        elif not passes:
            line = f"step {step + 1}/{steps}  reads images"
        else:
            number = min(self._stepper.done + 1, passes)
            line = f"step {step + 1}/{steps}  pass {number} of {passes}"
        if self.step_seconds is None:
            return line
        left = duration((steps - step) * self.step_seconds)
        return f"{line}  {self.step_seconds:.1f} s a step, {left} left"

    def _measure(self) -> None:
        self._measures = True
        measured = self.task.measure(self.step)
        self._measures = False
        if measured is None:
            return
        self._record(measured.record())
        if self.best is None or measured.goodness > self.best[1].goodness:
            self.best = self.step, measured
            if self.keep_best:
                weights = self.task.weights.items()
                self._best_weights = {name: w.detach().cpu().clone() for name, w in weights}

    # --- checkpoints ---

    def _resume(self) -> None:
        """Continue from the last checkpoint; the main process reads it for all."""
        found = None
        if distributed.is_main():
            checkpoints.start(self.run_dir, self.recipe, self.overwrite)
            found = checkpoints.newest(self.run_dir)
        # Without one the others still take the main process's weights, to begin alike.
        file, checkpoint = distributed.from_main(found or (None, self._checkpoint({})))
        if file:
            print0(f"continues from {file}")
        try:
            self._load(checkpoint)
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            if not file:
                raise
            raise InputError(f"{file}: does not fit ({one_line(error)}); delete it") from None

    def _save(self) -> None:
        sums = self._total_sums()
        if distributed.is_main():
            checkpoints.write(self.run_dir, self._checkpoint(sums))

    def _checkpoint(self, sums: dict[str, list[float]]) -> Checkpoint:
        """All that a resume needs."""
        tensors = {f"weights.{name}": weight for name, weight in self.task.weights.items()}
        tensors |= {f"buffers.{name}": buffer for name, buffer in self.task.buffers.items()}
        tensors |= {f"best.{name}": weight for name, weight in self._best_weights.items()}
        for number, optimizer in enumerate(self.task.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{key}": m for key, m in moments.items()}
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        record = {"log": self.log, "sums": sums, "best": self.best}
        record |= {"scaler": self._stepper.scaler.state_dict(), "settings": self.task.settings}
        return Checkpoint(self.step, tensors, record)

    def _load(self, checkpoint: Checkpoint) -> None:
        states = [optimizer.state_dict() for optimizer in self.task.optimizers]
        for name, tensor in checkpoint.part("optimizer").items():
            number, index, key = name.split(".")
            states[int(number)]["state"].setdefault(int(index), {})[key] = tensor
        best = checkpoint.part("best")
        if best:
            _require_same(best, self.task.weights)
        copy(checkpoint.part("weights"), self.task.weights)
        copy(checkpoint.part("buffers"), self.task.buffers)
        for optimizer, state in zip(self.task.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self._best_weights, self.step = best, checkpoint.step
        self.log = checkpoint.record["log"]
        if distributed.is_main():  # they are the sums over all processes
            self._sums.update(checkpoint.record["sums"])
        self.task.settings.update(checkpoint.record["settings"])
        if scaler := checkpoint.record["scaler"]:
            self._stepper.scaler.load_state_dict(scaler)
        if checkpoint.record["best"]:
            step, (loss, kinds) = checkpoint.record["best"]
            self.best = step, HeldOutResult(loss, {kind: tuple(n) for kind, n in kinds.items()})


def _require_same(tensors: Mapping[str, torch.Tensor], to: Mapping[str, torch.Tensor]) -> None:
    shapes = [{name: tensor.shape for name, tensor in named.items()} for named in (tensors, to)]
    if shapes[0] != shapes[1]:
        raise ValueError("other weights than this training's")


def copy(tensors: Mapping[str, torch.Tensor], to: Mapping[str, torch.Tensor]) -> None:
    """Copy the values of tensors into others of the same names and shapes."""
    _require_same(tensors, to)
    with torch.no_grad():
        for name, tensor in to.items():
            tensor.copy_(tensors[name])


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
    for start, group in (("eval_", "eval/"), ("held-out ", "held-out/")):
        if name.startswith(start):
            return group + name.removeprefix(start).replace(" ", "_")
    return f"train/{name}"
