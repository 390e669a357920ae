"""The tables and curves that a run prints, as text and as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from .data import QA_SUFFIX, Item, VQABenchmarkResult, VQADataset
from .files import DATA_DIR, atomic_write
from .majority import majority_baseline


def accuracy_table(result: VQABenchmarkResult, baseline: VQABenchmarkResult, source: str) -> str:
    """Accuracy overall and per kind beside the majority baseline's.

    Args:
        baseline: of the same samples; see `same_questions_baseline`.
        source: where its answers come from.
    """
    commonest = baseline.accuracy_per_kind
    lines = [f"{'kind':<18} {'questions':>9} {'accuracy':>9} {'majority':>9}"]
    for kind, (accuracy, number) in result.accuracy_per_kind.items():
        lines.append(f"{kind:<18} {number:>9} {accuracy:>9.1%} {commonest[kind][0]:>9.1%}")
    total = len(result.samples)
    lines.append(f"{'all':<18} {total:>9} {result.accuracy:>9.1%} {baseline.accuracy:>9.1%}")
    low, high = wilson_interval(result.accuracy, total)
    lines.append(
        f"95% interval {low:.1%} to {high:.1%}; majority: the commonest answer of {source}"
    )
    return "\n".join(lines)


def same_questions_baseline(
    result: VQABenchmarkResult, train_split: str, data_dir: str | Path | None
) -> tuple[VQABenchmarkResult, str]:
    """The majority baseline on the samples of `result`, and where its answers come from.

    Without question/answer pairs in the train split, the samples' own commonest answers are
    taken, which can only flatter the baseline.
    """
    asked: list[Item] = [
        {
            "image_path": sample.image_path,
            "question": sample.question,
            "answer": sample.correct_answer,
        }
        for sample in result.samples
    ]
    folder = Path(data_dir or DATA_DIR) / train_split
    if not list(folder.glob(f"*{QA_SUFFIX}")):
        return majority_baseline(asked, asked), "these questions themselves"
    train_items = VQADataset(train_split, data_dir)
    return majority_baseline(train_items, asked), f"the {train_split} split"


def wilson_interval(share: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a share of `total` trials (Wilson 1927); z = 1.96 for 95%."""
    if not total:
        return 0.0, 1.0
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


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
