"""From a scene to question/answer pairs: five kinds, each one small function.

Pure, like `scene`. The course gives the wording, which must not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .scene import Scene, depth_of, regions, side_of

Pair = tuple[str, str]  # question, answer

EGO = "What kart is the ego car?"
COUNT = "How many karts are there in the scenario?"
TRACK = "What track is this?"
LEFT_OR_RIGHT = "Is {} to the left or right of the ego car?"
FRONT_OR_BEHIND = "Is {} in front of or behind the ego car?"
WHERE = "Where is {} relative to the ego car?"
HOW_MANY = "How many karts are {} the ego car?"
MAX_TEXT_LENGTH = 2_000  # characters of a question or an answer; the dataset has up to 60
REGIONS = ("to the left of", "to the right of", "in front of", "behind")
SIDES, DEPTHS = ("left", "right"), ("front", "back")
PLACES = tuple(f"{depth} and {side}" for depth in DEPTHS for side in SIDES)
_REGION_QUESTIONS = tuple(HOW_MANY.format(where) for where in REGIONS)


def ego(scene: Scene) -> Iterator[Pair]:
    """The name of the ego kart."""
    if scene.ego:
        yield EGO, scene.ego.name


def count(scene: Scene) -> Iterator[Pair]:
    """The number of karts, including the ego."""
    if scene.karts:
        yield COUNT, str(len(scene.karts))


def track(scene: Scene) -> Iterator[Pair]:
    """The name of the track, the only kind that needs no kart."""
    yield TRACK, scene.track


def relative_position(scene: Scene) -> Iterator[Pair]:
    """The position of each other kart relative to the ego."""
    for kart in scene.others:
        side, depth = side_of(kart, scene.ego), depth_of(kart, scene.ego)
        yield LEFT_OR_RIGHT.format(kart.name), side
        yield FRONT_OR_BEHIND.format(kart.name), depth
        yield WHERE.format(kart.name), f"{depth} and {side}"


def region(scene: Scene) -> Iterator[Pair]:
    """The number of other karts in each region that has any."""
    for question, karts in zip(_REGION_QUESTIONS, regions(scene), strict=True):
        if karts:
            yield question, str(len(karts))


KINDS = {
    "ego": ego,
    "count": count,
    "track": track,
    "relative position": relative_position,
    "region": region,
}


def pairs(scene: Scene) -> Iterator[Pair]:
    """Every question/answer pair of a scene, kind by kind, karts in the order of the info file."""
    for kind in KINDS.values():
        yield from kind(scene)


_FIXED = {EGO: "ego", COUNT: "count", TRACK: "track"} | dict.fromkeys(_REGION_QUESTIONS, "region")
_POSITION = re.compile(
    "|".join(
        re.escape(form).replace(r"\{\}", r"(\S+)")
        for form in (LEFT_OR_RIGHT, FRONT_OR_BEHIND, WHERE)
    )
)


def kind_of(question: str) -> str:
    """The kind (a key of KINDS) that a question belongs to, or "other"."""
    if question in _FIXED:
        return _FIXED[question]
    return "relative position" if _POSITION.fullmatch(question) else "other"


def kart_in(question: str) -> str | None:
    """The kart that a relative-position question names, or None."""
    match = _POSITION.fullmatch(question)
    return next(filter(None, match.groups())) if match else None
