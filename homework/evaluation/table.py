"""The tables and curves that a run prints, as text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..common.files import DATA_DIR, atomic_write
from ..data import QA_SUFFIX, Item, VQABenchmarkResult, VQADataset
from .majority import majority_baseline
from .statistics import ALL, Outcome, Share, breakdowns


def accuracy_table(
    result: VQABenchmarkResult,
    baseline: VQABenchmarkResult,
    source: str,
    outcomes: Sequence[Outcome] = (),
) -> str:
    """Accuracy overall and per kind with 95% intervals, beside the majority baseline's.

    Args:
        baseline: of the same samples; see `same_questions_baseline`.
        source: where its answers come from.
        outcomes: of the same samples; where they know it, accuracy is given apart for karts
            that training showed on the same track and for those that it did not.
    """
    commonest = majority_accuracy(baseline)
    rows = [Share(k, round(a * n), n) for k, (a, n) in result.accuracy_per_kind.items()]
    rows.append(Share(ALL, sum(row.right for row in rows), len(result.samples)))
    lines = [f"{'kind':<22}questions  accuracy     95% interval  majority"]
    lines += [f"{_row(share)} {commonest[share.label]:>9.1%}" for share in rows]
    seen = breakdowns(outcomes)["seen"]
    if seen:
        lines += ["", "kart and track together in the training split, for kinds about one kart:"]
        for kind, shares in seen.items():
            if kind != ALL:
                lines += [_row(share._replace(label=f"{kind}, {share.label}")) for share in shares]
    lines += ["", f"intervals: Wilson; majority: the commonest answer of {source}"]
    return "\n".join(lines)


def _row(share: Share) -> str:
    row = share.row()
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{share.label:<25} {share.total:>5} {row['accuracy']:>9.1%}  {interval:>15}"


def majority_accuracy(baseline: VQABenchmarkResult) -> dict[str, float]:
    """Kind and "all" -> accuracy of the majority baseline."""
    kinds = {kind: accuracy for kind, (accuracy, _) in baseline.accuracy_per_kind.items()}
    return {**kinds, ALL: baseline.accuracy}


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
