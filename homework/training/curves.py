"""Loss and accuracy over the steps of a training, as a picture."""

from __future__ import annotations

from pathlib import Path

from ..evaluation.about import curves
from ..frames.pictures import save_picture

CURVES = "curves.png"  # the file beside an adapter


def save_curves(log: list[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy over the steps of a run, and held-out accuracy by kind of question.

    Args:
        log: see `evaluation.about.curves`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, 3), curves(log).items(), strict=True):
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    save_picture(figure, path, dpi=120)
