"""Pre-training that ends with a time, as many steps as that may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from homework.training.loop import Loop
from homework.training.step import HeldOutResult

from .augment import View
from .batches import Batch
from .task import STEPS_PER_RECORD, Pretraining

DENSE = 0.25  # share of the time that trains the vision tower alone
BETWEEN = 0.125  # share of the time between two measurements on held-out frames, after those
MOST_STEPS = 20_000  # however many would fit


class TimedPretraining(Pretraining):
    """Pre-training whose learning rate and phases follow the time.

    So the rate ends at 0 however fast the steps are.

    Args:
        views: of each folder.
        recipe: "batch_size", "seed", "learning_rate" and "described".
    """

    def __init__(
        self, views: Sequence[list[View]], recipe: dict[str, Any], num_workers: int
    ) -> None:
        self.recipe = {**recipe, "steps": MOST_STEPS, "dense_steps": MOST_STEPS}
        super().__init__(views, self.recipe, num_workers)

    def train(self, work_dir: Path, seconds: float) -> dict[str, Any]:
        """Train until the time is over, but for a last measurement; the numbers of it."""
        self.seconds, self._begun, self._due = seconds, monotonic(), DENSE + BETWEEN
        loop = Loop(self, work_dir, self.recipe, MOST_STEPS, STEPS_PER_RECORD)
        loop.measure_steps = 1  # `measure` knows when
        loop.run()
        taken = monotonic() - self._begun
        result = super().measure(loop.step)
        kinds = {each.label: each.value for each in result.accuracies[:-1]} if result else {}
        images = loop.step * self.batch_size
        return {
            "steps": loop.step,
            "dense_steps": self.dense_steps,
            "pictures": images,
            "pictures_per_second": images / taken,
            "kinds": kinds,
            "log": [record for record in loop.log if "eval_accuracy" in record],
        }

    def progress(self, step: float) -> float:
        """Share of the time that is over."""
        return min((monotonic() - self._begun) / self.seconds, 1.0)

    def batches(self, first: int) -> Iterator[list[Batch]]:
        """Batches for dense steps, then batches with sentences, each while there is time."""
        step = first
        for until in (DENSE, 1.0):
            begun = step
            for taken in super().batches(step):
                if step > begun and self.progress(step) >= until:
                    break
                yield taken
                step += 1
            self.dense_steps = self.data.dense_steps = min(self.dense_steps, step)

    def measure(self, step: int) -> HeldOutResult | None:
        """As pre-training does, whenever a measurement is due; `train` makes the last one."""
        if not self._due <= self.progress(step) < 1:
            return None
        self._due += BETWEEN
        return super().measure(step)

    def minutes_left(self, step: float, steps_per_second: float) -> float:
        """Until the time is over."""
        return self.seconds * (1 - self.progress(step)) / 60
