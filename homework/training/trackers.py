"""Trackers of experiments, which get the curves of a training: accelerate's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


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
