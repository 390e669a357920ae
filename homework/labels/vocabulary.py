"""The answers that a question of the five kinds can have: a closed list each. Pure."""

from __future__ import annotations

from .names import KARTS, TRACKS
from .questions import (
    COUNT,
    DEPTHS,
    EGO,
    FRONT_OR_BEHIND,
    LEFT_OR_RIGHT,
    PLACES,
    SIDES,
    TRACK,
    WHERE,
    kart_in,
    kind_of,
)

MAX_KARTS = 10  # of a race
COUNTS = tuple(str(number) for number in range(1, MAX_KARTS + 1))
_ANSWERS = {EGO: KARTS, COUNT: COUNTS, TRACK: TRACKS}


def vocabulary(question: str) -> tuple[str, ...]:
    """Every answer that the labelling rule can give to `question`; () to any other question."""
    if question in _ANSWERS:
        return _ANSWERS[question]
    kart = kart_in(question)
    if kart is not None:
        return {
            LEFT_OR_RIGHT.format(kart): SIDES,
            FRONT_OR_BEHIND.format(kart): DEPTHS,
            WHERE.format(kart): PLACES,
        }[question]
    # A region holds the other karts of the race at most, and is asked about where it holds one.
    return COUNTS[:-1] if kind_of(question) == "region" else ()
