"""The pre-training of a GPU run: as many steps as fit into a time, of the best form of the stem."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from homework.training.loop import Loop
from homework.training.step import Stepper

from .pretrain import HELD_OUT
from .pretraining.batches import load_views
from .pretraining.draws import CHANCES
from .pretraining.task import STEPS_PER_RECORD, Pretraining

# Forms of the stem, as what is other than in `architecture.STEM`.
STEMS: dict[str, dict[str, Any]] = {"blocks": {}, "no_blocks": {"stem_blocks": [0, 0, 0]}}
DENSE = 0.25  # share of the steps that train the vision tower alone
MEASUREMENTS = 6  # on held-out frames
PROBE = 12  # steps of each kind that are timed, at most
PROBE_SHARE = 0.03  # of the time, for timed steps of each kind
MORE = 2  # times the steps that are expected: the time ends the run


class TimedPretraining:
    """Pre-training on the views of some folders.

    Args:
        recipe: batch_size, seed, learning_rate, described and most_steps.
        clock: seconds, as time.monotonic.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        work_dir: Path,
        recipe: dict[str, Any],
        workers: int,
        clock: Callable[[], float],
    ) -> None:
        self.work_dir, self.workers, self.clock = work_dir, workers, clock
        self.recipe = {**recipe, "augmentations": list(CHANCES), "held_out": "frame", "start": None}
        self.views = [load_views(folder, workers) for folder in folders]

    def best_stem(self, stems: Sequence[str], seconds: float) -> tuple[str, dict[str, Any]]:
        """The stem that is best on held-out frames after some seconds, and what each gave."""
        found = {stem: self.train(f"trial_{stem}", stem, seconds=seconds)[1] for stem in stems}
        return max(found, key=lambda stem: found[stem]["held_out"]), found

    def train(
        self, name: str, stem: str, end: float = math.inf, seconds: float = math.inf
    ) -> tuple[Pretraining, dict[str, Any]]:
        """Train until a time; what has been trained, and the numbers of it.

        The learning rate follows the time, so that it ends at 0 however fast the steps are.

        Args:
            end: of the clock.
            seconds: after the first steps, in which the parts are compiled and the rate is
                measured.
        """
        probe = self._task(f"{name}_probe", stem, 2 * PROBE, PROBE)
        most = PROBE_SHARE * min(seconds, end - self.clock())
        dense, described, measuring = timed(probe, most, self.clock)
        del probe
        begun = self.clock()
        end = min(end, begun + seconds)
        seconds = end - begun - MEASUREMENTS * measuring
        fit = max(int(seconds / (DENSE * dense + (1 - DENSE) * described)), 1)
        steps = min(max(int(MORE * fit), 2), self.recipe["most_steps"])
        print(f"{stem}: {dense:.3f} s a dense step, {described:.3f} s with sentences: {fit} steps")
        task = self._task(name, stem, steps, int(DENSE * min(fit, steps)))
        task.progress = lambda step: min(
            max(step / steps, (self.clock() - begun) / (end - begun)), 1.0
        )
        task.batches = until(task.batches, end - measuring, self.clock)
        loop = Loop(task, self.work_dir / name, self.recipe, steps, STEPS_PER_RECORD)
        loop.measure_steps = max(min(fit, steps) // MEASUREMENTS, 1)
        loop.run()
        result = task.measure(loop.step)
        kinds = {each.label: each.value for each in result.accuracies[:-1]} if result else {}
        images = loop.step * self.recipe["batch_size"]
        return task, {
            "stem": stem,
            "steps": loop.step,
            "pictures": images,
            "pictures_per_second": images / (self.clock() - begun),
            "seconds_of_a_step": {"dense": dense, "described": described},
            "held_out": statistics.fmean(kinds.values()) if kinds else 0.0,
            "kinds": kinds,
            "log": [record for record in loop.log if "eval_accuracy" in record],
        }

    def _task(self, name: str, stem: str, steps: int, dense_steps: int) -> Pretraining:
        self.recipe.update(steps=steps, dense_steps=dense_steps, stem=STEMS[stem])
        share = HELD_OUT["frame"]
        return Pretraining(self.views, self.work_dir / name, self.recipe, share, None, self.workers)


def timed(
    task: Pretraining, seconds: float, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Seconds of a dense step, of one with sentences, and of a measurement; it spoils the weights.

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
    stepper, times = Stepper(task, task.seed), [clock()]
    for step, batches in enumerate(task.batches(first), start=first):
        stepper.take(batches, step)  # reads the gradient's norm, and so waits for a GPU
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
