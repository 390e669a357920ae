"""Histograms and tables of a split as matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..labels.questions import KINDS
from ..labels.scene import FRAME_SIZE
from .appearance import BOX_COLUMNS, PICTURE_COLUMNS
from .survey import answers_by_kind, most_frequent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .appearance import Appearance
    from .survey import Survey

MOST_ANSWERS = 21  # bars of a histogram
BAR_COLOR = "#4c8fb0"


def answers_figure(found: Survey) -> Figure:
    """A histogram of the answers to each kind of question."""
    from matplotlib.figure import Figure

    answers = answers_by_kind(found.pairs)
    figure = Figure(figsize=(15, 5.5), layout="constrained")
    for axes, (kind, counter) in zip(figure.subplots(1, len(KINDS)), answers.items(), strict=True):
        # Numbers by value, other answers by frequency.
        rows = most_frequent(counter, MOST_ANSWERS)
        if all(answer.isdigit() for answer, _ in rows):
            rows.sort(key=lambda item: int(item[0]))
        names, numbers = [name for name, _ in rows], [number for _, number in rows]
        axes.barh(names, numbers, color=BAR_COLOR)
        axes.invert_yaxis()
        axes.set_title(f"{kind}: {counter.total():,}", fontsize=11)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def line_ups_figure(found: Survey) -> Figure:
    """A heat map: the number of views that show a kart on a track; white for none."""
    import numpy as np
    from matplotlib.figure import Figure

    tracks = sorted(found.frames)
    karts = sorted({kart for _, kart in found.seen} | {k for _, up in found.line_ups for k in up})
    views = np.array([[found.seen[track, kart] for kart in karts] for track in tracks], float)
    views = views.reshape(len(tracks), len(karts))
    size = (3 + 0.42 * len(karts), 2 + 0.3 * len(tracks))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_equal(views, 0)
    axes.imshow(shown, cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(len(karts)), karts, rotation=90, fontsize=8)
    axes.set_yticks(range(len(tracks)), tracks, fontsize=8)
    for row, column in zip(*views.nonzero(), strict=True):
        number = int(views[row, column])
        color = "white" if number > 0.6 * views.max() else "black"
        axes.text(column, row, str(number), ha="center", va="center", fontsize=6, color=color)
    never = int((views == 0).sum())
    axes.set_title(f"views that show a kart on a track; {never} of {views.size} pairs: none")
    return figure


def comparison_figure(ours: Appearance, others: Appearance) -> Figure:
    """Histograms of two folders, one over the other."""
    import numpy as np
    from matplotlib.figure import Figure

    rows = np.linspace(0, FRAME_SIZE[1], 41)
    panels = [
        ("karts in a view", ours.karts, others.karts, np.arange(-0.5, 8)),
        ("bottom of the own kart (of 400)", ours.own_bottom, others.own_bottom, rows),
    ]
    for column, name in enumerate(BOX_COLUMNS):
        bins = np.linspace(0, 150 if name in ("width", "middle x") else 100, 31)
        panels.append((f"box {name}", ours.boxes[:, column], others.boxes[:, column], bins))
    for column, name in enumerate(PICTURE_COLUMNS):
        bins = np.linspace(0, 255, 41)
        panels.append((name, ours.pictures[:, column], others.pictures[:, column], bins))
    figure = Figure(figsize=(14, 8), layout="constrained")
    for axes, (title, a, b, bins) in zip(figure.subplots(3, 4).flat, panels, strict=True):
        for values, appearance in ((a, ours), (b, others)):
            weights = np.full(len(values), 100 / max(len(values), 1))
            axes.hist(values, bins, weights=weights, alpha=0.5, label=appearance.name)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("% of views" if "box" not in title else "% of karts", fontsize=8)
    figure.axes[0].legend()
    return figure
