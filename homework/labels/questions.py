"""From a scene to question/answer pairs: five kinds, each one small function.

Pure, like `scene`. The words are the course's own and must not change. All that is known of a
kind stands in `KINDS`: a new kind is a function and a line there, and nothing elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .scene import Scene, is_front, is_left
from .vocabulary import COUNTS, KARTS, TRACKS

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


class Kind(NamedTuple):
    """One kind of question.

    `pairs` makes its pairs from a scene. `forms` maps each of its questions, with "{}" in the
    place of a kart's name, to all answers that the question can have.
    """

    pairs: Callable[[Scene], Iterator[Pair]]
    forms: Mapping[str, tuple[str, ...]]


# A region holds the other karts of the race at most, and is asked about where it holds one.
_REGION_COUNTS = COUNTS[:-1]
KINDS = {
    "ego": Kind(ego, {EGO: KARTS}),
    "count": Kind(count, {COUNT: COUNTS}),
    "track": Kind(track, {TRACK: TRACKS}),
    "relative position": Kind(
        relative_position, {LEFT_OR_RIGHT: SIDES, FRONT_OR_BEHIND: DEPTHS, WHERE: PLACES}
    ),
    "region": Kind(region, dict.fromkeys(_REGION_QUESTIONS, _REGION_COUNTS)),
}
FORMS = {form: answers for kind in KINDS.values() for form, answers in kind.forms.items()}
_KIND_OF_FORM = {form: name for name, kind in KINDS.items() for form in kind.forms}
_NAMES_A_KART = re.compile(
    "|".join(re.escape(form).replace(r"\{\}", r"(\S+)") for form in FORMS if "{}" in form)
)


def pairs(scene: Scene) -> Iterator[Pair]:
    """Every question/answer pair of a scene, kind by kind, karts in the info file's order."""
    for kind in KINDS.values():
        yield from kind.pairs(scene)


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


def form_of(question: str) -> str:
    """The question with "{}" in the place of the kart that it names, if it names one."""
    match = _NAMES_A_KART.fullmatch(question)
    if not match:
        return question
    start, end = match.span(match.lastindex)
    return f"{question[:start]}{{}}{question[end:]}"


def kart_in(question: str) -> str | None:
    """The kart that a question names, or None."""
    match = _NAMES_A_KART.fullmatch(question)
    return match[match.lastindex] if match else None


def kind_of(question: str) -> str:
    """The kind (a key of KINDS) that a question belongs to, or "other"."""
    return _KIND_OF_FORM.get(form_of(question), "other")


def possible_answers(question: str) -> tuple[str, ...]:
    """Every answer that the labelling rule can give to `question`; () to any other question."""
    return FORMS.get(form_of(question), ())
