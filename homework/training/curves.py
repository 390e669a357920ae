"""Loss and accuracy over the steps of a training, as a picture."""

from __future__ import annotations

from pathlib import Path

from ..frames.pictures import save_picture

CURVES = "curves.png"  # the file beside an adapter


HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out pictures


def save_curves(log: list[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy over the steps of a run, and held-out accuracy by kind of question.

    Args:
        log: a dict per record, with "step" and some of "loss", "accuracy", "eval_loss",
            "eval_accuracy" and, for each kind, "held-out <kind>".
    """
    from matplotlib.figure import Figure

    both = {"": "training", "eval_": "held-out train frames"}
    curves = {
        title: {f"{start}{title}": label for start, label in both.items()}
        for title in ("loss", "accuracy")
    }
    kinds = dict.fromkeys(name for record in log for name in record if name.startswith(HELD_OUT))
    curves["held-out accuracy by kind"] = {name: name.removeprefix(HELD_OUT) for name in kinds}
    figure = Figure(figsize=(13, 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, 3), curves.items(), strict=True):
        for name, label in lines.items():
            points = [(record["step"], record[name]) for record in log if name in record]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    save_picture(figure, path, dpi=120)
