"""Which races a recording consists of: tracks, line-ups, moments, frame numbers. Pure.

The dataset has one race and one line-up of karts per track. A recording deals its karts so that
every (track, kart) pair is equally frequent, one apart at most.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

KARTS_PER_RACE = 10  # as many as the dataset's views in a frame
VALID_KARTS = 6  # in a race of the sample's validation: what ten leave of the free data's sixteen
FRAMES_PER_RACE = 10  # at most: the start of a race costs as much as five of its frames
# In 45% of the dataset's views the camera follows the kart, in the others it goes before it:
# the camera of a kart that has finished, nearly always at the end of the race (1,890 info files
# of the train split, own kart's box ending below or above pixel 330 of 400).
MOMENTS = {"chase": 0.45, "finish": 0.3, "end": 0.25}
# Karts close together, behind and beside each other, near and far: seen from behind, from the
# front. Several karts in one view are what a model learns last, and 6 in 10 views show one.
PACKS = {"pack": 0.5, "pack_front": 0.5}
_ORDER = (*MOMENTS, *PACKS)


class Race(NamedTuple):
    """One race of a recording; the fields of the engine's job."""

    track: str
    karts: tuple[str, ...]
    seed: int
    frames: tuple[tuple[int, str], ...]  # number and moment; moments of a kind are together

    def job(self, cameras: bool) -> dict[str, Any]:
        """What the engine is told (see homework.recording.engine)."""
        return {**self._asdict(), "cameras": cameras}


def plan(
    views: int, tracks: Sequence[str], karts: Sequence[str], seed: int, packs: float = 0.0
) -> list[Race]:
    """The races that give `views` views or the few more of whole frames.

    Every track comes once before any comes again, so a recording that is cut short is balanced.

    Args:
        packs: share of the frames whose karts are put close together, from 0 to 1.
    """
    moments = {moment: part * (1 - packs) for moment, part in MOMENTS.items()}
    moments |= {moment: part * packs for moment, part in PACKS.items()}
    rng = random.Random(seed)
    per_frame = min(KARTS_PER_RACE, len(karts))
    frames = -(-views // per_frame)
    per_race = min(FRAMES_PER_RACE, -(-frames // len(tracks)))
    line_ups = {track: _deal(karts, per_frame, rng) for track in tracks}
    races: list[Race] = []
    number = 0
    order: list[str] = []
    while number < frames:
        order = order or rng.sample(list(tracks), len(tracks))
        track = order.pop()
        numbers = range(number, min(number + per_race, frames))
        races.append(make_race(track, next(line_ups[track]), numbers, rng, moments))
        number = numbers.stop
    return races


def plan_sample(
    tracks: Sequence[str], karts: Sequence[str], frames: tuple[int, int], seed: int
) -> tuple[list[Race], list[Race]]:
    """One race per track for training and one for validation, with no (track, kart) in both.

    As in the dataset, a track has one line-up in each; unlike there, the two share no kart.

    Args:
        frames: of each training race and of each validation race.
    """
    rng = random.Random(seed)
    line_ups = _deal(karts, KARTS_PER_RACE, rng)
    train, valid = [], []
    order = rng.sample(list(tracks), len(tracks))
    for place, track in enumerate(order):
        trained = next(line_ups)
        others = tuple(rng.sample([kart for kart in karts if kart not in trained], VALID_KARTS))
        for races, line_up, size in ((train, trained, frames[0]), (valid, others, frames[1])):
            numbers = range(place * size, (place + 1) * size)
            races.append(make_race(track, line_up, numbers, rng))
    return train, valid


def make_race(
    track: str,
    karts: Sequence[str],
    numbers: Sequence[int],
    rng: random.Random,
    moments: Mapping[str, float] = MOMENTS,
) -> Race:
    """A race with its moments dealt in their shares, those of a kind one after the other."""
    size = len(numbers)
    start = rng.random()  # where in the cycle of moments, so that small races are fair together
    due = [(start + place / size) % 1 for place in range(size)]
    dealt = sorted((_moment(share, moments) for share in due), key=_ORDER.index)
    seed = rng.randrange(2**31)
    return Race(track, tuple(karts), seed, tuple(zip(numbers, dealt, strict=True)))


def _moment(share: float, moments: Mapping[str, float]) -> str:
    for moment, part in moments.items():
        share -= part
        if share < 0:
            return moment
    return moment


def _deal(karts: Sequence[str], size: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Line-ups of `size` karts without end: whoever has raced least comes next."""
    raced: Counter[str] = Counter()
    while True:
        order = rng.sample(list(karts), len(karts))
        line_up = sorted(order, key=raced.__getitem__)[:size]
        raced.update(line_up)
        yield tuple(rng.sample(line_up, size))
