"""The rules of the score. Pure: no files, no processes, no submission."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable

QUESTIONS = 128
FULL_POINTS, FULL_ACCURACY = 100.0, 0.70
EXTRA_POINTS, EXTRA_FROM, EXTRA_TO = 5.0, 0.80, 0.85
MAX_TOTAL = FULL_POINTS + EXTRA_POINTS
SEED = 0


def points(accuracy: float) -> float:
    """Points for an accuracy in [0, 1]: linear up to 100 at 70%."""
    return FULL_POINTS * _clip(accuracy / FULL_ACCURACY)


def extra_points(accuracy: float) -> float:
    """Extra credit for an accuracy in [0, 1]: linear from 0 at 80% to 5 at 85%."""
    return EXTRA_POINTS * _clip((accuracy - EXTRA_FROM) / (EXTRA_TO - EXTRA_FROM))


def _clip(value: float) -> float:
    return min(1.0, value) if value > 0 else 0.0  # NaN gives 0 as well


def is_correct(answer: str, expected: str) -> bool:
    """Whether two answers are equal but for case, outer spaces and one full stop at the end."""
    return _normal(answer) == _normal(expected)


def _normal(text: str) -> str:
    return text.strip().casefold().removesuffix(".").rstrip()


def draw(total: int, count: int = QUESTIONS) -> list[int]:
    """Which of `total` questions are asked: at most `count` indices, ascending, always the same.

    `homework.data.benchmark` draws in the same way, so both give the same accuracy.
    """
    if total <= count:
        return list(range(total))
    return sorted(random.Random(SEED).sample(range(total), count))


_KINDS = {
    "ego": r"What kart is the ego car\?",
    "count": r"How many karts are there in the scenario\?",
    "track": r"What track is this\?",
    "relative position": r"Is \S+ to the left or right of the ego car\?"
    r"|Is \S+ in front of or behind the ego car\?|Where is \S+ relative to the ego car\?",
    "region": r"How many karts are (to the left of|to the right of|in front of|behind) "
    r"the ego car\?",
}


def kind_of(question: str) -> str:
    """The kind of a question by its exact words, or "other"."""
    return next((kind for kind, words in _KINDS.items() if re.fullmatch(words, question)), "other")


def by_kind(results: Iterable[tuple[str, bool]]) -> dict[str, dict[str, int]]:
    """Kind -> how many were "right" and "asked", from questions and whether the answer is right."""
    table = {kind: {"right": 0, "asked": 0} for kind in (*_KINDS, "other")}
    for question, correct in results:
        row = table[kind_of(question)]
        row["right"] += correct
        row["asked"] += 1
    return {kind: row for kind, row in table.items() if row["asked"]}


def how_far(
    answered: int, asked: int, first: int, seconds: float, before: float, limit: float
) -> str:
    """How many questions were answered within a time limit, and what all of them would need.

    Args:
        first: questions of the first call, which has not ended where `answered` is 0.
        seconds: that the answers took.
        before: seconds that importing and loading took.
        limit: seconds for all of it.
    """
    if answered:
        rate, needed = f"{answered / max(seconds, 1e-3):.2g}", before + seconds / answered * asked
        needs = f"about {needed:.0f} s"
    else:
        rate, needed = f"under {first / limit:.2g}", before + (limit - before) * asked / first
        needs = f"over {needed:.0f} s"
    return (
        f"{answered} of {asked} questions were answered, {rate} a second; this machine needs "
        f"{needs} for all: --time_limit {60 * math.ceil((1.2 if answered else 2) * needed / 60)}"
    )
