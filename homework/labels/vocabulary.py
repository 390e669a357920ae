"""The names of karts and tracks, and the closed list of answers to each kind of question. Pure."""

from __future__ import annotations

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

# Of the dataset, by identifier, sorted.
_KARTS = """adiumy amanda beastie emule gavroche gnu hexley kiki konqi nolok pidgin puffy
sara_the_racer sara_the_wizard suzanne tux wilber xue"""
_TRACKS = """abyss black_forest candela_city cocoa_temple cornfield_crossing fortmagma
gran_paradiso_island hacienda lighthouse minigolf olivermath overworld ravenbridge_mansion
sandtrack scotland snowmountain snowtuxpeak tutorial volcano_island xr591 zengarden"""

KARTS = tuple(_KARTS.split())
TRACKS = tuple(_TRACKS.split())
MAX_KARTS = 10  # of a race
COUNTS = tuple(str(number) for number in range(1, MAX_KARTS + 1))
_ANSWERS = {EGO: KARTS, COUNT: COUNTS, TRACK: TRACKS}
Scores = tuple[tuple[str, float], ...]  # (possible answer, probability), likeliest first


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
