"""Trackers of experiments that get the curves of a training: accelerate's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..common import distributed
from ..common.errors import InputError

PROJECT = "homework"  # the runs' name at a tracker that has projects


def check_trackers(report_to: Sequence[str]) -> list[str]:
    """The names of trackers, without "none".

    Raises:
        InputError: accelerate does not know one, or it is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    names = [name for name in report_to if name != "none"]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise InputError(f"--report_to: no tracker {name!r}; there are: {known}, none")
        if name not in [str(tracker) for tracker in get_available_trackers()]:
            raise InputError(f"--report_to: {name} is not installed; pip install {name}")
    return names


class Trackers:
    """The trackers of one run; they start with the first record, in the main process alone.

    Args:
        names: see `check_trackers`.
        run_dir: those that write files do so in `run_dir`/runs/<time>.
    """

    def __init__(self, names: Sequence[str], run_dir: Path) -> None:
        self.names, self.run_dir = names, run_dir
        self._started: list | None = None

    def log(self, values: dict[str, float], step: int) -> None:
        """Hand on named numbers of a step."""
        if not distributed.is_main():
            return
        if self._started is None:
            self._started = [self._start(name) for name in self.names]
        named = {_tag(name): value for name, value in values.items()}
        for tracker in self._started:
            tracker.log(named, step=step)

    def finish(self) -> None:
        """The run is over."""
        for tracker in self._started or ():
            tracker.finish()

    def _start(self, name: str):
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind = LOGGER_TYPE_TO_CLASS[name]
        # One folder a run, or TensorBoard would draw them as one curve.
        folder = self.run_dir / "runs" / time.strftime("%Y%m%d-%H%M%S")
        project = "" if name == "tensorboard" else PROJECT  # its folder is name enough
        tracker = (
            kind(project, logging_dir=str(folder))
            if kind.requires_logging_directory
            else kind(project)
        )
        tracker.start()
        return tracker


def _tag(name: str) -> str:
    """A record's name in groups as trackers show them: eval_loss -> eval/loss."""
    for start, group in (("eval_", "eval/"), ("held-out ", "held-out/")):
        if name.startswith(start):
            return group + name.removeprefix(start).replace(" ", "_")
    return f"train/{name}"
