"""How long a training will take, said before its first step. Pure but for the question asked."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

from ..common import distributed
from ..common.distributed import duration
from ..common.errors import InputError
from .measured import COST

DAY = 86_400  # seconds; more has to be confirmed
SHORT = 3_600  # seconds; a training within them needs no advice
FEWER = (50_000, 20_000, 10_000, 5_000, 2_000, 1_000)  # numbers of pairs that are advised


class Work(NamedTuple):
    """What a training is to do.

    Attributes:
        steps: optimizer steps that are left.
        pictures: of a step, in this process.
        measured: held-out pictures that this process measures in all of the steps.
        views, pairs: of the dataset.
        seconds: that training takes for a picture.
    """

    steps: int
    pictures: float
    measured: float
    views: int
    pairs: int
    seconds: float

    @property
    def total(self) -> float:
        """Seconds that it will take."""
        return (self.steps * self.pictures + COST * self.measured) * self.seconds

    @property
    def is_long(self) -> bool:
        """Whether its user needs to hear what would take less."""
        return self.total > SHORT


def line(work: Work, embedded: float | None) -> str:
    """The total, and where it is long what would take less.

    Args:
        embedded: seconds that the embedded base would take; None if that is not known.
    """
    parts = [f"about {duration(work.total)} on this machine"]
    if work.is_long and embedded is not None:
        parts.append(f"with --base embedded_base about {duration(embedded)}")
    if work.is_long and (fewer := _fewer(work)):
        pairs, share = fewer
        parts.append(f"with --max_samples {pairs} about {duration(work.total * share)}")
    return "; ".join(parts)


def confirm(work: Work, text: str, yes: bool) -> None:
    """Ask before what cannot end within a day.

    Raises:
        InputError: the answer is no, or nobody can be asked.
    """
    if work.total <= DAY or yes:
        return
    if distributed.world_size() == 1 and sys.stdin is not None and sys.stdin.isatty():
        if input(f"{text}. Go on? [y/N] ").strip().lower() in ("y", "yes"):
            return
        raise InputError("not begun; --yes begins without a question")
    raise InputError(f"{text}; give --yes to train for so long")


def _fewer(work: Work) -> tuple[int, float] | None:
    """A number of pairs whose training takes a few hours at most, and its share of the time."""
    found = None
    for pairs in FEWER:
        if pairs >= work.pairs:
            continue
        # Pairs drawn at random leave few pictures without any.
        pictures = work.views * (1 - (1 - pairs / work.pairs) ** (work.pairs / work.views))
        share = math.ceil(pictures) / work.views
        found = pairs, share
        if share * work.total <= 4 * SHORT:
            break
    return found
