"""The curves of a training, and a figure of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..frames.images import save_image

CURVES = "curves.png"  # the file beside an adapter
HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out images


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
