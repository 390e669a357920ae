"""The training loop that fine-tuning and pre-training share.

Each process runs forward and backward passes on its own micro-batches. Once a step, the gradients
are summed over the processes, so that all take the same optimizer step. What is trained, on which
batches, with which loss and optimizers, is the `Task`.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..common import distributed, machine
from ..common.distributed import Heartbeat, duration, print0, waiting
from ..common.errors import InputError, one_line
from . import checkpoints
from .checkpoints import Checkpoint
from .step import (
    HeldOutResult,
    Means,
    MicroBatch,
    Task,
    is_stalled,
    measure_steps,
    not_finite,
    start_trackers,
    tag,
)

MAX_NORM = 1.0  # of the gradient; a longer one is scaled down to it
SCALE = 2.0**10  # of the loss in float16, to begin with: torch's own, 2^16, skips the first steps


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
        half = task.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(task.device, SCALE, growth_interval=200, enabled=half)
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.best: tuple[int, HeldOutResult] | None = None
        self._best_weights: dict[str, torch.Tensor] = {}
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # since the record
        self._passes: Sequence[MicroBatch] = ()  # of the step that is being taken
        self._done = 0  # of these passes
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
            checkpoints.copy(self._best_weights, self.task.weights)

    @property
    def _is_over(self) -> bool:
        """Whether the last step is taken, as a resumed run finds, too."""
        return self.step == self.task.steps or is_stalled(self.log, self.patience)

    # --- an optimizer step ---

    def _optimizer_step(self, micro_batches: Sequence[MicroBatch]) -> dict[str, float]:
        """Take one step on all processes' micro-batches, and add up its means.

        In float16 small gradients would be 0: the loss is multiplied by a factor that adapts itself
        (torch.amp.GradScaler), and a step whose gradients overflow all the same changes no weight.

        Returns:
            "learning_rate", and "grad_norm" but where a step in float16 has changed nothing.

        Raises InputError if the loss or the gradient is not finite.
        """
        self._passes, optimizers = micro_batches, self.task.optimizers
        weights, rate = list(self.task.weights.values()), self.task.learning_rate(self.step)
        [weight] = distributed.total([sum(batch.weight for batch in micro_batches)])
        backward = partial(self._backward, weight)
        means = machine.in_memory(backward, micro_batches, self._smaller)
        distributed.sum_gradients(weights)
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        gradient = torch.nn.utils.clip_grad_norm_(weights, MAX_NORM)
        numbers = {"learning_rate": rate}
        if torch.isfinite(gradient):
            numbers = {"grad_norm": gradient.item(), **numbers}
        elif not self.scaler.is_enabled() or self.scaler.get_scale() < 1:
            paths = [path for each in micro_batches for path in each.paths]
            raise not_finite("gradient", self.step, paths)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate_scale", 1.0)
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        for each in (*means, {"loss": (0, 1 / distributed.world_size())}):
            for name, (value, count) in each.items():
                self._sums[name][0] += float(value)
                self._sums[name][1] += count
        self.step += 1
        self._passes = ()
        return numbers

    def _smaller(self, micro_batches: Sequence[MicroBatch]) -> Sequence[MicroBatch]:
        for optimizer in self.task.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return self.task.smaller(micro_batches)

    def _backward(self, weight: float, micro_batches: Sequence[MicroBatch]) -> list[Means]:
        """Add up the gradients of all micro-batches; returns their means."""
        # Dropout depends on seed, step and process alone, and a resumed run draws the same.
        drawn = f"{self.recipe['seed']}/{self.step}/{distributed.rank()}"
        torch.manual_seed(random.Random(drawn).getrandbits(63))
        means: list[Means] = []
        for self._done, micro_batch in enumerate(micro_batches):
            loss, others = self.task.loss(micro_batch)
            # Before any number is read: a GPU is waited for there.
            self.scaler.scale(loss / weight).backward()
            if not torch.isfinite(loss):
                raise not_finite("loss", self.step, micro_batch.paths)
            means.append({"loss": (loss.item() / weight, 0), **others})
        return means

    # --- records ---

    def _means(self) -> dict[str, float]:
        """Means over all processes since the record before."""
        sums = distributed.total_by_name(self._sums)
        self._sums.clear()
        return {name: value / count for name, (value, count) in sums.items()}

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
            number = min(self._done + 1, passes)
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
        sums = distributed.total_by_name(self._sums)
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
        record |= {"scaler": self.scaler.state_dict(), "settings": self.task.settings}
        return Checkpoint(self.step, tensors, record)

    def _load(self, checkpoint: Checkpoint) -> None:
        states = [optimizer.state_dict() for optimizer in self.task.optimizers]
        for name, tensor in checkpoint.part("optimizer").items():
            number, index, key = name.split(".")
            states[int(number)]["state"].setdefault(int(index), {})[key] = tensor
        checkpoints.copy(checkpoint.part("weights"), self.task.weights)
        checkpoints.copy(checkpoint.part("buffers"), self.task.buffers)
        for optimizer, state in zip(self.task.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self._best_weights, self.step = checkpoint.part("best"), checkpoint.step
        self.log = checkpoint.record["log"]
        if distributed.is_main():  # they are the sums over all processes
            self._sums.update(checkpoint.record["sums"])
        self.task.settings.update(checkpoint.record["settings"])
        if scaler := checkpoint.record["scaler"]:
            self.scaler.load_state_dict(scaler)
        if checkpoint.record["best"]:
            step, (loss, kinds) = checkpoint.record["best"]
            self.best = step, HeldOutResult(loss, {kind: tuple(n) for kind, n in kinds.items()})
