"""Compare what the views of two splits look like: number, size and place of karts, light, colours.

Recorded frames help a model only as far as they resemble the frames of the benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from homework.common.errors import InputError
from homework.common.workers import chunks, ordered_map
from homework.frames.images import open_image
from homework.frames.split import Frame, Skipped, Split, read_frames, shuffled, view_of
from homework.labels.scene import FRAME_SIZE, KART_CLASS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FRAMES = 2_000  # of a folder to read; of a larger folder, a random draw with a fixed seed
BEFORE = 330  # of 400 rows: a camera before its kart sees the bottom of the kart below this row
BOX_COLUMNS = "width", "height", "middle x", "middle y"
IMAGE_COLUMNS = "brightness", "contrast", "saturation", "red", "green", "blue"


@dataclass
class Appearance:
    """Measurements of the views of a folder; lengths in pixels of the 150x100 image."""

    name: str
    karts: np.ndarray  # (views,) karts large enough to count
    boxes: np.ndarray  # (karts, 4): BOX_COLUMNS
    own_bottom: np.ndarray  # (views that show the kart of their camera,) rows of 400
    images: np.ndarray  # (views, 6): IMAGE_COLUMNS, 0 to 255
    tracks: dict[str, np.ndarray]  # track -> (views, 6)

    @property
    def before(self) -> float:
        """Share of the views whose camera goes before its kart."""
        return float((self.own_bottom >= BEFORE).mean()) if len(self.own_bottom) else 0.0


def measure(split: Split, num_workers: int) -> Appearance:
    """Measure the views of a folder, or of MOST_FRAMES of its frames.

    Raises InputError if no view can be read.
    """
    files = sorted(shuffled(split.info_files)[:MOST_FRAMES])
    runs = chunks(files, num_workers, largest=16)
    with ordered_map(lambda run: list(_rows(split, run)), runs, num_workers) as results:
        rows = [row for part in results for row in part]
    if not rows:
        raise InputError(
            f"{split.folder}: no image of a view can be read; generate_qa inspect says why"
        )
    tracks, karts, boxes, bottoms, images = zip(*rows, strict=True)
    values, names = np.array(images), np.array(tracks)
    return Appearance(
        split.name,
        np.array(karts),
        np.array([box for view in boxes for box in view]).reshape(-1, 4),
        np.array([bottom for bottom in bottoms if bottom is not None]),
        values,
        {track: values[names == track] for track in sorted(set(tracks))},
    )


def _rows(split: Split, run: Sequence[str]) -> Iterator[tuple]:
    """For each view: track, number of karts, boxes, bottom of its own kart, image statistics."""
    for frame in read_frames(split, run, Skipped()):
        for name, scene in frame.views:
            try:
                image = open_image(split.folder / name)
            except InputError:
                continue
            karts = [(*kart.box, *kart.center) for kart in scene.karts]
            boxes = [(x2 - x1, y2 - y1, *center) for x1, y1, x2, y2, *center in karts]
            yield scene.track, len(boxes), boxes, _own_bottom(frame, name), _statistics(image)


def _own_bottom(frame: Frame, image: str) -> float | None:
    """Lowest row of the kart that the camera follows: camera k follows kart k."""
    view = view_of(image)
    for kind, kart, *box in frame.info["detections"][view]:
        if kind == KART_CLASS and kart == view:
            return box[3]
    return None


def _statistics(image) -> tuple[float, ...]:
    pixels = np.asarray(image, np.float32)
    grey = pixels.mean(-1)
    saturation = (pixels.max(-1) - pixels.min(-1)).mean()
    return (grey.mean(), grey.std(), saturation, *pixels.mean((0, 1)))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sample Kolmogorov-Smirnov statistic: 0 for equal samples, 1 for disjoint ranges."""
    if not len(a) or not len(b):
        return 1.0
    every = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(values), every, "right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def table(ours: Appearance, others: Appearance) -> Iterator[str]:
    """The table that compares two folders, line by line."""
    yield f"{'':34}{ours.name:>22}{others.name:>22}{'KS':>7}"
    yield f"{'views':34}{len(ours.karts):22,}{len(others.karts):22,}"
    a, b = ours.karts, others.karts
    yield _line("karts in a view, mean", f"{a.mean():.2f}", f"{b.mean():.2f}", a, b)
    for number in range(4):
        shares = (a == number).mean(), (b == number).mean()
        yield _line(f"  views with {number}", f"{shares[0]:.1%}", f"{shares[1]:.1%}")
    yield _line("  views with 4 or more", f"{(a >= 4).mean():.1%}", f"{(b >= 4).mean():.1%}")
    yield _line("camera before its kart", f"{ours.before:.1%}", f"{others.before:.1%}")
    columns = [
        *zip([f"box {name}" for name in BOX_COLUMNS], ours.boxes.T, others.boxes.T, strict=True),
        *zip(IMAGE_COLUMNS, ours.images.T, others.images.T, strict=True),
    ]
    for name, a, b in columns:
        yield _line(f"{name} (10%, 50%, 90%)", _spread(a), _spread(b), a, b)
    if both := sorted(ours.tracks.keys() & others.tracks.keys()):
        colours = [
            {track: found.tracks[track][:, 3:].mean(0) for track in both}
            for found in (ours, others)
        ]
        apart = {track: np.abs(colours[0][track] - colours[1][track]).mean() for track in both}
        furthest = max(both, key=apart.__getitem__)
        mean = sum(apart.values()) / len(apart)
        yield (
            f"mean colour of a track: {mean:.1f} of 255 apart on average over {len(both)} tracks, "
            f"most on {furthest} ({apart[furthest]:.1f})"
        )


def _line(name: str, ours: str, others: str, *values: np.ndarray) -> str:
    last = f"{difference(*values):7.2f}" if values else ""
    return f"{name:34}{ours:>22}{others:>22}{last}"


def _spread(values: np.ndarray) -> str:
    if not len(values):
        return "none"
    return " ".join(f"{value:6.0f}" for value in np.percentile(values, (10, 50, 90)))


def comparison_figure(ours: Appearance, others: Appearance) -> Figure:
    """Histograms of two folders, one over the other."""
    from matplotlib.figure import Figure

    rows = np.linspace(0, FRAME_SIZE[1], 41)
    panels = [
        ("karts in a view", ours.karts, others.karts, np.arange(-0.5, 8)),
        ("bottom of the own kart (of 400)", ours.own_bottom, others.own_bottom, rows),
    ]
    for column, name in enumerate(BOX_COLUMNS):
        bins = np.linspace(0, 150 if name in ("width", "middle x") else 100, 31)
        panels.append((f"box {name}", ours.boxes[:, column], others.boxes[:, column], bins))
    for column, name in enumerate(IMAGE_COLUMNS):
        bins = np.linspace(0, 255, 41)
        panels.append((name, ours.images[:, column], others.images[:, column], bins))
    figure = Figure(figsize=(14, 8), layout="constrained")
    for axes, (title, a, b, bins) in zip(figure.subplots(3, 4).flat, panels, strict=True):
        for values, appearance in ((a, ours), (b, others)):
            weights = np.full(len(values), 100 / max(len(values), 1))
            axes.hist(values, bins, weights=weights, alpha=0.5, label=appearance.name)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("% of views" if "box" not in title else "% of karts", fontsize=8)
    figure.axes[0].legend()
    return figure
