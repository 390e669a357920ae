"""Loss and accuracy over the steps of a training, as a picture."""

from __future__ import annotations

from pathlib import Path

from ..common.files import atomic_write

CURVES = "curves.png"  # the file beside an adapter


def save_curves(log: list[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy over the steps of a run.

    Args:
        log: the trainer's history, a dict per record, with "step" and some of "loss",
            "accuracy", "eval_loss", "eval_accuracy".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((quantity, "training"), (f"eval_{quantity}", "held-out train frames")):
            points = [(record["step"], record[key]) for record in log if key in record]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=quantity, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
