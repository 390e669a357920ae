"""Figures of matplotlib: histograms and tables of a split, and the curves of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import Opener, atomic_write
from ..frames.images import save_image
from ..frames.split import Split
from ..labels.questions import KINDS
from .draw import contact_sheet
from .survey import answers_by_kind, most_frequent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .survey import Survey

MOST_ANSWERS = 21  # bars of a histogram
BAR_COLOR = "#4c8fb0"
CURVES = "curves.png"  # the file beside an adapter
HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out images


def save_images(
    split: Split, found: Survey, folder: Path, open_file: Opener = atomic_write
) -> list[Path]:
    """Write contact_sheet.png, answers.png and line_ups.png of a split, surveyed as `found`."""
    files = [folder / f"{name}.png" for name in ("contact_sheet", "answers", "line_ups")]
    save_image(contact_sheet(split), files[0], open_file)
    save_image(answers_figure(found), files[1], open_file, dpi=110)
    save_image(line_ups_figure(found), files[2], open_file, dpi=110)
    return files


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


# --- the curves of a training ---


def curves(log: Iterable[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The curves of a training: title of a chart -> name of a line -> (step, value).

    Args:
        log: a dict per record, with "step" and some of "loss", "accuracy", "eval_loss",
            "eval_accuracy" and, for each kind, "held-out <kind>".
    """
    records = list(log)
    both = {"": "training", "eval_": "held-out train frames"}
    charts = {
        title: {f"{start}{title}": name for start, name in both.items()}
        for title in ("loss", "accuracy")
    }
    kinds = dict.fromkeys(
        name for record in records for name in record if name.startswith(HELD_OUT)
    )
    charts["held-out accuracy by kind"] = {name: name.removeprefix(HELD_OUT) for name in kinds}
    return {
        title: {
            name: points
            for field, name in lines.items()
            if (points := [(r["step"], r[field]) for r in records if finite(r.get(field))])
        }
        for title, lines in charts.items()
    }


def finite(value: object) -> bool:
    """Whether JSON has this number; it has no infinity and no NaN."""
    return isinstance(value, int | float) and math.isfinite(value)


def save_curves(log: list[dict[str, float]], path: Path) -> None:
    """Draw `curves(log)`: loss, accuracy, and held-out accuracy by kind of question."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, 3), curves(log).items(), strict=True):
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    save_image(figure, path, dpi=120)
