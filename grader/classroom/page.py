"""A page about a class, one HTML file without a script: it opens from disk and asks no network."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import reasons

_TEMPLATE = Path(__file__).with_name("page.html")
_BINS = 10  # of ten points each, below full points
Row = Mapping[str, Any]


def is_page(content: bytes) -> bool:
    """Whether a file's content is what `render` makes."""
    return b"<title>Grades of " in content


def render(rows: Sequence[Row], settings: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """The page.

    Args:
        rows: of the class's table, as `table.row` makes them.
        settings: what `results.depends_on` returns.
        notes: sentences for the top.
    """
    from jinja2 import Environment, StrictUndefined  # torch has it

    template = _TEMPLATE.read_text("utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    totals = [row["total"] for row in rows if row["total"] is not None]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        settings=settings,
        notes=notes,
        mean=statistics.mean(totals) if totals else None,
        median=statistics.median(totals) if totals else None,
        late=sum(row["late"] == "yes" for row in rows),
        ungraded=len(rows) - len(totals),
        bins=_bins(totals),
        failures=_failures(rows),
        kinds=_kinds(rows),
        equal={field: same(rows, field) for field in ("sha256", "adapter_sha256")},
        rows=sorted(rows, key=lambda row: (row["total"] is None, row["total"] or 0, row["ID"])),
    )


def _bins(totals: Sequence[float]) -> dict[str, int]:
    """Range of points -> how many totals are in it."""
    names = ["0", "below 10", *(f"{10 * n} to below {10 * n + 10}" for n in range(1, _BINS))]
    counts = dict.fromkeys([*names, "100 to 105"], 0)
    for total in totals:
        counts[[*counts][min(int(total // 10), _BINS) + 1 if total > 0 else 0]] += 1
    return counts


def _failures(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The groups of failures with their rows, the largest first."""
    groups = defaultdict(list)
    for row in rows:
        if row["group"] != reasons.GRADED:
            groups[row["group"]].append(row)
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))


def _kinds(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Kind -> how many submissions answered, and the mean, median, low and high of accuracies."""
    found = defaultdict(list)
    for row in rows:
        for kind, counts in (row.get("kinds") or {}).items():
            found[kind].append(counts["right"] / counts["asked"])
    return {
        kind: {
            "count": len(shares),
            "mean": statistics.mean(shares),
            "median": statistics.median(shares),
            "low": min(shares),
            "high": max(shares),
        }
        for kind, shares in found.items()
    }


def same(rows: Sequence[Row], field: str) -> list[list[Row]]:
    """Groups of rows with the same value in a field; of an adapter, in more than one zip."""
    groups = defaultdict(list)
    for row in rows:
        if row.get(field):
            groups[row[field]].append(row)
    return [
        group
        for group in groups.values()
        if len(group if field == "sha256" else {row["sha256"] for row in group}) > 1
    ]
