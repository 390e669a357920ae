"""Sentences that describe an image; pre-training teaches the text model with them. Pure.

No sentence is a question or worded like one of the five kinds (`questions`), which are left to
fine-tuning. A statement has a prompt, which may be empty, and a target, which the model learns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from homework.labels.questions import KARTS, REGIONS
from homework.labels.scene import Kart, Scene, depth_of, regions, side_of

MAX_KARTS = 3  # karts whose place is described, per image and step
ABSENT = "missing"
NONE = "none"


class Statement(NamedTuple):
    """A sentence about an image."""

    kind: str  # one of KINDS
    prompt: str  # may be empty
    target: str  # what the model learns to say


def statements(scene: Scene, rng: random.Random) -> list[Statement]:
    """Random sentences about a scene, of every kind that applies to it."""
    found = [statement for kinds in DRAWN for statement in kinds(scene, rng)]
    rng.shuffle(found)
    return found


def _facts(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    prompt = rng.choice(("The track:", "The karts race on the track"))
    yield Statement("track", prompt, scene.track)
    if scene.ego:
        prompt = rng.choice(("The ego car:", "Nearest to the middle there is the kart"))
        yield Statement("ego", prompt, scene.ego.name)
    prompt = rng.choice(("Karts in the scenario:", "The number of karts is"))
    yield Statement("count", prompt, str(len(scene.karts)))


def _region(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """The number of karts in two of the four regions, also 0, and the names of those in one."""
    if not scene.ego:
        return
    for name, karts in rng.sample(list(zip(REGIONS, regions(scene), strict=True)), 2):
        yield Statement("region", f"Karts {name} the ego:", str(len(karts)))
    names, karts = rng.choice(list(zip(REGIONS, regions(scene), strict=True)))
    yield Statement("region names", f"Names {names} the ego:", _names(karts))


def _place(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """The place of a few karts relative to the ego."""
    ego: Any = scene.ego  # there is one where there are others
    others = scene.others
    for kart in rng.sample(others, min(len(others), MAX_KARTS)):
        side, depth = side_of(kart, ego), depth_of(kart, ego)
        prompt, target = rng.choice(
            (
                ("{} keeps to the", side),
                ("Here {} keeps to the", side),
                ("{} drives at the", depth),
                ("Here {} drives at the", depth),
                ("Place of {}:", f"{depth} and {side}"),
                ("From the ego car, {} drives at the", f"{depth} and {side}"),
            )
        )
        yield Statement("place", prompt.format(kart.name), target)


def _seen(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """Whether a random kart is in the image."""
    there = {kart.name for kart in scene.karts}
    names = sorted(there) if there and rng.random() < 0.5 else KARTS
    name = rng.choice(names)
    yield Statement("seen", f"Here {name} is", "seen" if name in there else ABSENT)


def _whole(scene: Scene, rng: random.Random) -> Iterator[Statement]:
    """All karts from left to right, and the whole image in one sentence."""
    yield Statement("list", "From left to right:", _names(scene.karts))
    ego: Any = scene.ego  # there is one where there are karts
    parts = [
        f"{kart.name} as ego"
        if kart is ego
        else f"{kart.name} {depth_of(kart, ego)} and {side_of(kart, ego)}"
        for kart in _in_order(scene.karts)
    ]
    target = f"{scene.track}, {len(scene.karts)} karts: {'; '.join(parts) or NONE}"
    yield Statement("whole", "", target)


DRAWN = (_facts, _region, _place, _seen, _whole)
KINDS = ("track", "ego", "count", "region", "region names", "place", "seen", "list", "whole")


def language() -> list[str]:
    """Sentences that together contain every word of the statements."""
    rng = random.Random(0)
    karts = tuple(
        Kart(name, (20 * column, 10 + 10 * row, 20 * column + 15, 20 + 10 * row))
        for row, column, name in ((0, 1, KARTS[0]), (1, 2, KARTS[1]), (2, 4, KARTS[2]))
    )
    scenes = [Scene("lighthouse", (), None), Scene("lighthouse", karts, karts[1])]
    return [
        f"{part.prompt} {part.target}"
        for _ in range(50)
        for scene in scenes
        for part in statements(scene, rng)
    ]


def _names(karts) -> str:
    return ", ".join(kart.name for kart in _in_order(karts)) or NONE


def _in_order(karts) -> list[Kart]:
    return sorted(karts, key=lambda kart: kart.center)
