"""What a picture shows, in sentences: what pre-training teaches the text model. Pure.

None of them is a question, and none is worded like one of the five kinds (`questions`): those
are left to fine-tuning. A statement has a beginning that is given and a rest that is learned, so
that a name can be given and its place told, or the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from .scene import Kart, Scene, is_front, is_left
from .vocabulary import KARTS

MAX_KARTS = 3  # whose places are told of one picture in one step
ABSENT = "missing"
NONE = "none"
REGIONS = ("to the left of", "to the right of", "in front of", "behind")


class Statement(NamedTuple):
    """A sentence about a picture."""

    kind: str  # what it tells: a key of DRAWN
    given: str  # its beginning
    told: str  # the rest, which is learned


def statements(scene: Scene, rng: random.Random) -> list[Statement]:
    """A draw of sentences about a scene, of every kind that it has."""
    found = [statement for kind in DRAWN.values() for statement in kind(scene, rng)]
    rng.shuffle(found)
    return found


def _track(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    given = rng.choice(("The track:", "The karts race on the track"))
    yield Statement("track", given, scene.track)


def _ego(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    if scene.ego:
        given = rng.choice(("The ego car:", "Nearest to the middle there is the kart"))
        yield Statement("ego", given, scene.ego.name)


def _count(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    given = rng.choice(("Karts in the scenario:", "The number of karts is"))
    yield Statement("count", given, str(len(scene.karts)))


def _region(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """How many karts two of the four regions hold, 0 included, and which ones one holds."""
    if not scene.ego:
        return
    for name, karts in rng.sample(list(zip(REGIONS, _regions(scene), strict=True)), 2):
        yield Statement("region", f"Karts {name} the ego:", str(len(karts)))
    names, karts = rng.choice(list(zip(REGIONS, _regions(scene), strict=True)))
    yield Statement("region names", f"Names {names} the ego:", _names(karts))


def _place(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """Where a few karts are, seen from the ego."""
    others = [kart for kart in scene.karts if kart is not scene.ego]
    for kart in rng.sample(others, min(len(others), MAX_KARTS)):
        side, depth = _side(kart, scene), _depth(kart, scene)
        given, told = rng.choice(
            (
                ("{} keeps to the", side),
                ("Here {} keeps to the", side),
                ("{} drives at the", depth),
                ("Here {} drives at the", depth),
                ("Place of {}:", f"{depth} and {side}"),
                ("From the ego car, {} drives at the", f"{depth} and {side}"),
            )
        )
        yield Statement("place", given.format(kart.name), told)


def _seen(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """Whether a kart is there: one that is, or one that is not."""
    there = {kart.name for kart in scene.karts}
    names = sorted(there) if there and rng.random() < 0.5 else KARTS
    name = rng.choice(names)
    yield Statement("seen", f"Here {name} is", "seen" if name in there else ABSENT)


def _list(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    yield Statement("list", "From left to right:", _names(scene.karts))


def _whole(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """The whole picture in one sentence, the karts from left to right."""
    parts = [
        f"{kart.name} as ego"
        if kart is scene.ego
        else f"{kart.name} {_depth(kart, scene)} and {_side(kart, scene)}"
        for kart in _in_order(scene.karts)
    ]
    told = f"{scene.track}, {len(scene.karts)} karts: {'; '.join(parts) or NONE}"
    yield Statement("whole", "", told)


DRAWN = {
    "track": _track,
    "ego": _ego,
    "count": _count,
    "region": _region,
    "place": _place,
    "seen": _seen,
    "list": _list,
    "whole": _whole,
}
KINDS = ("track", "ego", "count", "region", "region names", "place", "seen", "list", "whole")


def language() -> list[str]:
    """Sentences with every word that a statement can have."""
    rng = random.Random(0)
    karts = tuple(
        Kart(name, (20 * column, 10 + 10 * row, 20 * column + 15, 20 + 10 * row))
        for row, column, name in ((0, 1, KARTS[0]), (1, 2, KARTS[1]), (2, 4, KARTS[2]))
    )
    scenes = [Scene("lighthouse", (), None), Scene("lighthouse", karts, karts[1])]
    return [
        f"{part.given} {part.told}"
        for _ in range(50)
        for scene in scenes
        for part in statements(scene, rng)
    ]


def _regions(scene: Scene) -> tuple[list[Kart], ...]:
    """The other karts of each region, in the order of REGIONS."""
    others = [kart for kart in scene.karts if kart is not scene.ego]
    left = [kart for kart in others if is_left(kart, scene.ego)]
    front = [kart for kart in others if is_front(kart, scene.ego)]
    return (
        left,
        [kart for kart in others if kart not in left],
        front,
        [kart for kart in others if kart not in front],
    )


def _names(karts) -> str:
    return ", ".join(kart.name for kart in _in_order(karts)) or NONE


def _in_order(karts) -> list[Kart]:
    return sorted(karts, key=lambda kart: kart.center)


def _side(kart: Kart, scene: Scene) -> str:
    return "left" if is_left(kart, scene.ego) else "right"


def _depth(kart: Kart, scene: Scene) -> str:
    return "front" if is_front(kart, scene.ego) else "back"
