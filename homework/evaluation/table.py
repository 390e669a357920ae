"""The accuracy table that a command prints."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.share import Share
from ..data import ALL, VQABenchmarkResult
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
        f"{_line(share)} {majority.accuracy:>9.1%}"
        for share, majority in zip(result.shares, baseline.shares, strict=True)
    ]
    if base:
        lines[0] += "  base alone"
        for index, share in enumerate(base.shares, 1):
            lines[index] += f"{share.accuracy:>12.1%}"
    seen = breakdowns(outcomes)["seen"]
    if seen:
        lines += ["", "kart and track together in the training split, for kinds about one kart:"]
        for kind, shares in seen.items():
            if kind != ALL:
                lines += [_line(share._replace(label=f"{kind}, {share.label}")) for share in shares]
    lines += ["", f"intervals: Wilson; majority: the most common answer of {source}"]
    return "\n".join(lines)


def _line(share: Share) -> str:
    row = share.row()
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{share.label:<25} {share.total:>5} {row['accuracy']:>9.1%}  {interval:>15}"
