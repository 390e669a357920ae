"""The races of a recording: tracks, line-ups, moments, frame numbers. Pure.

The dataset has one race and one line-up of karts per track. In a recording all (track, kart) pairs
occur equally often, with a difference of one at most.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from homework.frames.split import INFO_SUFFIX

KARTS_PER_RACE = 10  # one per view; the dataset has ten views in a frame
FRAMES_PER_RACE = 10  # at most; starting a race takes as long as five frames
# In 45% of the views of the dataset the camera follows its kart. In the others it is before the
# kart, as for karts that have finished, nearly always at the end of the race. Counted on the 1,890
# info files of the train split: the box of the own kart ends above or below row 330 of 400.
MOMENTS = {"chase": 0.45, "finish": 0.3, "end": 0.25}
# Karts close together, seen from behind or from the front. Views with several karts are the
# hardest to learn, and 6 in 10 views show only one.
PACKS = {"pack": 0.5, "pack_front": 0.5}
_ORDER = (*MOMENTS, *PACKS)


def info_name(number: int) -> str:
    """A frame's info file, its number in hexadecimal: 10 -> `0000a_info.json`."""
    return f"{number:05x}{INFO_SUFFIX}"


class Race(NamedTuple):
    """One race of a recording; its fields are the job of an engine (see lab.recording.engine)."""

    track: str
    karts: tuple[str, ...]
    seed: int
    frames: tuple[tuple[int, str], ...]  # number and moment, sorted by moment


def plan(
    views: int,
    tracks: Sequence[str],
    karts: Sequence[str],
    seed: int,
    packs: float = 0.0,
) -> list[Race]:
    """The races for at least `views` views, in whole frames.

    Every track comes once before any track comes again, so an interrupted recording is balanced.

    Args:
        packs: share of the frames with karts placed close together, from 0 to 1.
    """
    shares = ((MOMENTS, 1 - packs), (PACKS, packs))
    moments = {name: part * share for each, share in shares if share for name, part in each.items()}
    rng = random.Random(seed)
    per_frame = min(KARTS_PER_RACE, len(karts))
    frames = -(-views // per_frame)
    per_race = min(FRAMES_PER_RACE, -(-frames // len(tracks)))
    line_ups = {track: _deal(karts, per_frame, rng) for track in tracks}
    races: list[Race] = []
    order: list[str] = []
    for first in range(0, frames, per_race):
        order = order or rng.sample(list(tracks), len(tracks))
        track = order.pop()
        numbers = range(first, min(first + per_race, frames))
        races.append(_race(track, next(line_ups[track]), numbers, rng, moments))
    return races


def _race(
    track: str,
    karts: Sequence[str],
    numbers: Sequence[int],
    rng: random.Random,
    moments: Mapping[str, float],
) -> Race:
    """A race whose moments occur in their shares, sorted by moment."""
    size = len(numbers)
    start = rng.random()  # so that the shares hold over many small races together
    points = [(start + place / size) % 1 for place in range(size)]
    dealt = sorted((_moment(point, moments) for point in points), key=_ORDER.index)
    seed = rng.randrange(2**31)
    return Race(track, tuple(karts), seed, tuple(zip(numbers, dealt, strict=True)))


def _moment(point: float, moments: Mapping[str, float]) -> str:
    for moment, share in moments.items():
        point -= share
        if point < 0:
            return moment
    return moment


def _deal(karts: Sequence[str], size: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Endless line-ups of `size` karts: those that have raced least come next."""
    raced: Counter[str] = Counter()
    while True:
        order = rng.sample(list(karts), len(karts))
        line_up = sorted(order, key=raced.__getitem__)[:size]
        raced.update(line_up)
        yield tuple(rng.sample(line_up, size))
