"""From a scene to question/answer pairs: five kinds, each one small function.

Pure, like `scene`. The words are the course's own and must not change. `KINDS` defines every kind:
a new kind is a function and a line there, and nothing elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .scene import Scene, depth_of, regions, side_of

# The identifiers in the dataset, sorted.
_KARTS = """adiumy amanda beastie emule gavroche gnu hexley kiki konqi nolok pidgin puffy
sara_the_racer sara_the_wizard suzanne tux wilber xue"""
_TRACKS = """abyss black_forest candela_city cocoa_temple cornfield_crossing fortmagma
gran_paradiso_island hacienda lighthouse minigolf olivermath overworld ravenbridge_mansion
sandtrack scotland snowmountain snowtuxpeak tutorial volcano_island xr591 zengarden"""

KARTS = tuple(_KARTS.split())
TRACKS = tuple(_TRACKS.split())
MAX_KARTS = 10  # in a race
COUNTS = tuple(str(number) for number in range(1, MAX_KARTS + 1))

Pair = tuple[str, str]  # question, answer
Probabilities = tuple[tuple[str, float], ...]  # (possible answer, probability), likeliest first

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
    ego = scene.ego
    if ego is None:
        return
    for kart in scene.others:
        side, depth = side_of(kart, ego), depth_of(kart, ego)
        yield LEFT_OR_RIGHT.format(kart.name), side
        yield FRONT_OR_BEHIND.format(kart.name), depth
        yield WHERE.format(kart.name), f"{depth} and {side}"


def region(scene: Scene) -> Iterator[Pair]:
    """The number of other karts in each region that has any."""
    for question, karts in zip(_REGION_QUESTIONS, regions(scene), strict=True):
        if karts:
            yield question, str(len(karts))


class Kind(NamedTuple):
    """One kind of question."""

    pairs: Callable[[Scene], Iterator[Pair]]  # of a scene
    # Question, with "{}" in the place of a kart's name -> all answers that it can have.
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
    """Every question/answer pair of a scene, kind by kind, karts in the order of the info file."""
    for kind in KINDS.values():
        yield from kind.pairs(scene)


def form_of(question: str) -> str:
    """The question with "{}" in the place of the kart that it names, if it names one."""
    match = _NAMES_A_KART.fullmatch(question)
    if not match or not match.lastindex:
        return question
    start, end = match.span(match.lastindex)
    return f"{question[:start]}{{}}{question[end:]}"


def kart_in(question: str) -> str | None:
    """The kart that a question names, or None."""
    match = _NAMES_A_KART.fullmatch(question)
    return match[match.lastindex] if match and match.lastindex else None


def asked_kart(question: str, answer: str, kind: str) -> str | None:
    """The kart that a question names or asks for; None if it is not about one kart."""
    return answer if kind == "ego" else kart_in(question)


def kind_of(question: str) -> str:
    """The kind (a key of KINDS) that a question belongs to, or "other"."""
    return _KIND_OF_FORM.get(form_of(question), "other")


def possible_answers(question: str) -> tuple[str, ...]:
    """Every answer that the labelling rule can give to `question`; () to any other question."""
    return FORMS.get(form_of(question), ())


_NEGATION = re.compile(r"\b(?:not|no|neither|nor|cannot)\b|n't\b", re.IGNORECASE)


def extracted(answer: str, question: str) -> str:
    """The answer inside a sentence, such as "left" of "The kart is on the left side.".

    It is the only one of `possible_answers(question)` that stands in the text as a word of its own;
    "Black Forest" is black_forest. The question, where the text repeats it, does not count. A text
    with several of them, with none or with a negation is returned as it is.
    """
    text = re.sub(re.escape(question.rstrip("?")), " ", answer, flags=re.IGNORECASE)
    names = {_words(name): name for name in possible_answers(question)}
    if not names or _NEGATION.search(text):
        return answer
    found = {names[_words(match)] for match in _one_of(tuple(names)).findall(text)}
    return found.pop() if len(found) == 1 else answer


def _words(text: str) -> str:
    """A name in small letters, with one space between its words."""
    return " ".join(text.replace("_", " ").casefold().split())


@cache
def _one_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds the longest of `names` at each place, as whole words; 3 is not in 13, nor in 3.5."""
    longest = sorted(names, key=len, reverse=True)
    words = "|".join(re.escape(name).replace(r"\ ", r"[\s_]+") for name in longest)
    return re.compile(rf"(?<![\w-])(?<!\d[.,])(?:{words})(?!\w|[.,]\d)", re.IGNORECASE)
