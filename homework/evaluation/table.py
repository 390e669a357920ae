"""The tables and curves that a run prints, as text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import VQABenchmarkResult
from .majority import majority_accuracy
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
    rows = shares(result)
    lines = [f"{'kind':<22}questions  accuracy     95% interval  majority"]
    lines += [f"{_row(share)} {commonest[share.label]:>9.1%}" for share in rows]
    seen = breakdowns(outcomes)["seen"]
    if seen:
        lines += ["", "kart and track together in the training split, for kinds about one kart:"]
        for kind, apart in seen.items():
            if kind != ALL:
                lines += [_row(share._replace(label=f"{kind}, {share.label}")) for share in apart]
    lines += ["", f"intervals: Wilson; majority: the commonest answer of {source}"]
    return "\n".join(lines)


def shares(result: VQABenchmarkResult) -> list[Share]:
    """Correct answers of each kind that occurs, and of all."""
    rows = [Share(k, round(a * n), n) for k, (a, n) in result.accuracy_per_kind.items()]
    return [*rows, Share(ALL, sum(row.right for row in rows), len(result.samples))]


def _row(share: Share) -> str:
    row = share.row()
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{share.label:<25} {share.total:>5} {row['accuracy']:>9.1%}  {interval:>15}"
