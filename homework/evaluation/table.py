"""The accuracy table that a command prints."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import ALL, Accuracy, VQABenchmarkResult
from .statistics import Outcome, breakdowns


def accuracy_table(
    result: VQABenchmarkResult,
    baseline: VQABenchmarkResult,
    source: str,
    outcomes: Sequence[Outcome] = (),
    base: VQABenchmarkResult | None = None,
) -> str:
    """Accuracy per kind and overall with 95% intervals, beside the majority baseline.

    Args:
        baseline: the majority baseline on the same questions; see `same_questions_baseline`.
        source: where the answers of the baseline come from.
        outcomes: of the same questions. If they tell whether training showed the kart on the
            track, the table gives the accuracy for seen and unseen pairs separately.
        base: the base alone on the same questions.
    """
    lines = [f"{'kind':<22}questions  accuracy     95% interval  majority"]
    lines += [
        f"{_line(accuracy)} {majority.value:>9.1%}"
        for accuracy, majority in zip(result.accuracies, baseline.accuracies, strict=True)
    ]
    if base:
        lines[0] += "  base alone"
        for index, accuracy in enumerate(base.accuracies, 1):
            lines[index] += f"{accuracy.value:>12.1%}"
    seen = breakdowns(outcomes)["seen"]
    if seen:
        lines += ["", "kart and track together in the training split, for kinds about one kart:"]
        for kind, accuracies in seen.items():
            if kind != ALL:
                lines += [
                    _line(accuracy._replace(label=f"{kind}, {accuracy.label}"))
                    for accuracy in accuracies
                ]
    lines += ["", f"intervals: Wilson; majority: the most common answer of {source}"]
    return "\n".join(lines)


def _line(accuracy: Accuracy) -> str:
    row = accuracy.row()
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{accuracy.label:<25} {accuracy.total:>5} {row['accuracy']:>9.1%}  {interval:>15}"
