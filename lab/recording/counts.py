"""How many views show each kart on each track, real and recorded, and what is rare among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from homework.frames.split import Skipped, list_split, read_frames
from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import SIZES, Kart, Scene

from .session import MANIFEST

LARGE = SIZES[-1]  # pixels: the smaller side of a large kart
NEAR = 20  # pixels between the centres of a tiny ego and a large kart, across or beyond its box


class Counts(NamedTuple):
    """Of some folders.

    Attributes:
        views: how many.
        pairs: (track, kart) -> views that show it.
        egos: lower bound of the size class of SIZES -> views whose ego is of it.
        beside: the same, of views that show a large kart near the ego.
    """

    views: Counter[str]
    pairs: Counter[tuple[str, str]]
    egos: Counter[int]
    beside: Counter[int]


def count(folders: Sequence[Path]) -> dict[str, Counts]:
    """What real folders show and what recorded ones do.

    Raises:
        InputError: a folder has no info file.
    """
    found = {kind: Counts(*(Counter() for _ in Counts._fields)) for kind in ("real", "recorded")}
    for folder in folders:
        split, skipped = list_split(folder), Skipped()
        kind = "recorded" if (folder / MANIFEST).exists() else "real"
        for frame in read_frames(split, split.info_files, skipped):
            for _, scene in frame.views:
                _add(found[kind], scene)
    return found


def _add(counts: Counts, scene: Scene) -> None:
    counts.views["all"] += 1
    counts.pairs.update((scene.track, kart.name) for kart in scene.karts)
    if scene.ego:
        size = max(bound for bound in SIZES if bound <= _side(scene.ego))
        counts.egos[size] += 1
        counts.beside[size] += any(_is_near(kart, scene.ego) for kart in scene.others)


def _side(kart: Kart) -> int:
    x1, y1, x2, y2 = kart.box
    return min(x2 - x1, y2 - y1)


def _is_near(kart: Kart, ego: Kart) -> bool:
    """Whether a kart is large and the ego's centre lies in its box or near it."""
    x1, y1, x2, y2 = kart.box
    x, y = ego.center
    return _side(kart) >= LARGE and x1 - NEAR <= x <= x2 + NEAR and y1 - NEAR <= y <= y2 + NEAR


def lines(found: dict[str, Counts]) -> Iterator[str]:
    """The table of track by kart, and what it comes to."""
    real, recorded = found["real"], found["recorded"]
    tracks = sorted({track for counts in found.values() for track, _ in counts.pairs} | {*TRACKS})
    karts = sorted({kart for counts in found.values() for _, kart in counts.pairs} | {*KARTS})
    yield f"| views that show the kart: real+recorded | {' | '.join(karts)} |"
    yield f"|---|{'---:|' * len(karts)}"
    for track in tracks:
        cells = (f"{real.pairs[track, kart]}+{recorded.pairs[track, kart]}" for kart in karts)
        yield f"| {track} | {' | '.join(cells)} |"
    yield ""
    pairs = [(track, kart) for track in tracks for kart in karts]
    for name, counts in found.items():
        shown = [counts.pairs[pair] for pair in pairs if counts.pairs[pair]]
        least = f", {min(shown):,} to {max(shown):,} views each" if shown else ""
        total = sum(counts.views.values())
        yield f"{name}: {total:,} views, {len(shown)} of {len(pairs)} pairs{least}"
    neither = sum(not any(counts.pairs[pair] for counts in found.values()) for pair in pairs)
    yield f"in neither: {neither} pairs"
    for name, counts in found.items():
        if total := sum(counts.egos.values()):
            bounds = (*SIZES[1:], None)
            sizes = ", ".join(
                f"{low}{f'-{high - 1}' if high else '+'}: {counts.egos[low] / total:.1%} "
                f"({counts.beside[low] / total:.1%})"
                for low, high in zip(SIZES, bounds, strict=True)
            )
            yield f"egos by smaller side in pixels, and near a large kart, {name}: {sizes}"
