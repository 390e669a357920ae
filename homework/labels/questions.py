"""From a scene to question/answer pairs: five kinds, each one small function.

Pure, like `scene`. The words are the course's own and must not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from .scene import Scene, is_front, is_left

Pair = tuple[str, str]  # question, answer

EGO = "What kart is the ego car?"
COUNT = "How many karts are there in the scenario?"
TRACK = "What track is this?"
LEFT_OR_RIGHT = "Is {} to the left or right of the ego car?"
FRONT_OR_BEHIND = "Is {} in front of or behind the ego car?"
WHERE = "Where is {} relative to the ego car?"
HOW_MANY = "How many karts are {} the ego car?"
MAX_TEXT_LENGTH = 2_000  # characters of any question or answer; those of the dataset have up to 60
REGIONS = ("to the left of", "to the right of", "in front of", "behind")
SIDES, DEPTHS = ("left", "right"), ("front", "back")
PLACES = tuple(f"{depth} and {side}" for depth in DEPTHS for side in SIDES)
_REGION_QUESTIONS = tuple(HOW_MANY.format(where) for where in REGIONS)


def ego(scene: Scene) -> Iterator[Pair]:
    """The ego kart's name."""
    if scene.ego:
        yield EGO, scene.ego.name


def count(scene: Scene) -> Iterator[Pair]:
    """The number of karts, the ego included."""
    if scene.karts:
        yield COUNT, str(len(scene.karts))


def track(scene: Scene) -> Iterator[Pair]:
    """The track's name; the one kind that needs no kart."""
    yield TRACK, scene.track


def relative_position(scene: Scene) -> Iterator[Pair]:
    """Where each other kart is, seen from the ego."""
    for kart in scene.karts:
        if kart is not scene.ego:
            side = "left" if is_left(kart, scene.ego) else "right"
            depth = "front" if is_front(kart, scene.ego) else "back"
            yield from _positions(kart.name, side, depth)


@cache  # there are only so many karts, and formatting is half of the work
def _positions(name: str, side: str, depth: str) -> tuple[Pair, ...]:
    return (
        (LEFT_OR_RIGHT.format(name), side),
        (FRONT_OR_BEHIND.format(name), depth),
        (WHERE.format(name), f"{depth} and {side}"),
    )


def region(scene: Scene) -> Iterator[Pair]:
    """How many karts each region holds; asked only where it holds one at least."""
    others = [kart for kart in scene.karts if kart is not scene.ego]
    left = sum([is_left(kart, scene.ego) for kart in others])
    front = sum([is_front(kart, scene.ego) for kart in others])
    counts = (left, len(others) - left, front, len(others) - front)
    for question, number in zip(_REGION_QUESTIONS, counts, strict=True):
        if number:
            yield question, str(number)


KINDS = {
    "ego": ego,
    "count": count,
    "track": track,
    "relative position": relative_position,
    "region": region,
}


def pairs(scene: Scene) -> Iterator[Pair]:
    """Every question/answer pair of a scene, kind by kind, karts in the info file's order."""
    for kind in KINDS.values():
        yield from kind(scene)


def layout(scene: Scene) -> tuple:
    """All of a scene that its pairs depend on: scenes of one layout have the same pairs.

    A split has far fewer layouts than views, so that whoever writes pairs can reuse them.
    """
    ego = scene.ego
    others = [
        (kart.name, is_left(kart, ego), is_front(kart, ego))
        for kart in scene.karts
        if kart is not ego
    ]
    return scene.track, ego and ego.name, tuple(others)


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
    """The kart a relative-position question names, or None."""
    match = _POSITION.fullmatch(question)
    return next(filter(None, match.groups())) if match else None
