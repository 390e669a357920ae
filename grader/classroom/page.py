"""A page about a class, one HTML file without a script: it opens from disk and asks no network."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .. import reasons

# The style that the project's pages share; without it the page is plain, and complete.
SHARED_STYLE = Path(__file__).resolve().parents[2] / "homework" / "common" / "page.css"
_STYLE = """
svg.bar { display: block; width: 100%; }
svg.bar rect { fill: var(--fill); }
svg.bar rect.none { fill: var(--wrong); }
table.plain th, table.plain td { vertical-align: top; }
table.plain thead th, table.plain td { white-space: nowrap; width: 1%; }
table.plain thead th:first-child { width: 20%; }
table.plain th.text, table.plain td.text { text-align: left; white-space: normal; width: auto; }
.zero { color: var(--wrong); font-weight: 600; }
@media (max-width: 720px) {
  .minor { display: none; }
  table.plain thead th:first-child { width: 32%; }
}
"""
_BINS = 10  # of ten points each, below full points
_SHOWN_IDS = 12  # of a group


def render(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """The page.

    Args:
        rows: of the class's table, as `table.row` makes them.
        settings: what `grading.depends_on` returns.
    """
    shared = SHARED_STYLE.read_text("utf-8") if SHARED_STYLE.is_file() else ""
    style = shared + _STYLE
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sections = (
        ("Totals", _totals(rows)),
        ("Failures by reason", _failures(rows)),
        ("Accuracy per kind of question", _kinds(rows)),
        ("Equal submissions", _equal(rows)),
        ("All submissions", _all(rows)),
    )
    body = "\n".join(
        f'<section><h2>{title}</h2><div class="card">{content}</div></section>'
        for title, content in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src \
'sha256-{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="color-scheme" content="light dark">
<title>Grades of {len(rows)} submissions</title>
<style>{style}</style>
</head>
<body>
<header><div><h1>Grades of {len(rows)} submissions</h1>{_summary(rows, settings)}</div></header>
<main>
{body}
</main>
<footer>Total: 100 points at 70% accuracy, linear below, up to 5 extra from 80% to 85%.</footer>
</body>
</html>
"""


def _summary(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    totals = [row["total"] for row in rows if row["total"] is not None]
    late = sum(row["late"] == "yes" for row in rows)
    parts = [f"split {settings['split']}", f"time limit {settings['time_limit']:g} s"]
    if totals:
        parts.append(f"mean {statistics.mean(totals):.1f}, median {statistics.median(totals):.1f}")
    parts += [f"{late} late"] if late else []
    if ungraded := len(rows) - len(totals):
        parts.append(f"{ungraded} not graded")
    return f'<p class="soft">{escape("; ".join(parts))}</p>'


def _share(label: str, share: float, number: str, detail: str = "", kind: str = "") -> str:
    """One row with a bar; `share` is in [0, 1]."""
    bar = (
        '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" width="{100 * share:.2f}" height="1"/></svg>'
    )
    return (
        f'<div class="share"><span>{escape(label)}</span>{bar}'
        f'<span class="number">{number}</span><span class="detail">{escape(detail)}</span></div>'
    )


def _totals(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = dict.fromkeys(range(-1, _BINS + 1), 0)
    for row in rows:
        if row["total"] is not None:
            counts[min(int(row["total"] // 10), _BINS) if row["total"] > 0 else -1] += 1
    most = max(counts.values()) or 1
    names = {-1: "0", 0: "below 10", _BINS: "100 to 105"}
    return "".join(
        _share(
            names.get(place, f"{10 * place} to below {10 * place + 10}"),
            count / most,
            str(count),
            kind="none" if place < 0 else "",
        )
        for place, count in counts.items()
    )


def _failures(rows: Sequence[Mapping[str, Any]]) -> str:
    groups = defaultdict(list)
    for row in rows:
        if row["group"] != reasons.GRADED:
            groups[row["group"]].append(row)
    if not groups:
        return "<p>Every submission has answered the questions.</p>"
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [[name, str(len(found)), _names(found), found[0]["reason"]] for name, found in ordered]
    return _table(("failure", "count", "submissions", "the first one's reason"), lines)


def _kinds(rows: Sequence[Mapping[str, Any]]) -> str:
    found = defaultdict(list)
    for row in rows:
        for kind, counts in (row.get("kinds") or {}).items():
            found[kind].append(counts)
    if not found:
        return "<p>No submission has answered the questions.</p>"
    answered = max(map(len, found.values()))
    note = f"Mean of the {answered} submissions that answered, with the lowest and the highest."
    bars = "".join(_kind(kind, counts) for kind, counts in found.items())
    return f'<p class="note">{note}</p>{bars}'


def _kind(kind: str, counts: Sequence[Mapping[str, int]]) -> str:
    shares = [one["right"] / one["asked"] for one in counts]
    mean = statistics.mean(shares)
    detail = f"{min(shares):.0%} to {max(shares):.0%}, median {statistics.median(shares):.0%}"
    return _share(kind, mean, f"{mean:.1%}", detail)


def _equal(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [["all bytes", _names(group)] for group in same(rows, "sha256")]
    lines += [["adapter", _names(group)] for group in same(rows, "adapter_sha256")]
    if not lines:
        return "<p>No two submissions are equal, and no two have the same adapter.</p>"
    return _table(("equal", "submissions"), lines)


def same(rows: Iterable[Mapping[str, Any]], field: str) -> list[list[Mapping[str, Any]]]:
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


def _all(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: (row["total"] is None, row["total"] or 0, row["ID"])):
        accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.1%}"
        total = "" if row["total"] is None else f"{row['total']:.1f}"
        late = f"{row['hours_late']:g} h" if row["hours_late"] else "late" * (row["late"] == "yes")
        lines.append([row["ID"], total, accuracy, late, row["reason"]])
    return _table(("ID", "total", "accuracy", "late", "reason"), lines)


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Text to the left, numbers to the right; some columns are left out on a phone."""
    text = {"submissions": "text", "reason": "text", "the first one's reason": "text minor"}
    minor = {"late": "minor", "accuracy": "minor"}
    classes = [text.get(name) or minor.get(name, "") for name in names]
    head = "".join(f'<th class="{c}">{escape(n)}</th>' for n, c in zip(names, classes, strict=True))
    body = []
    for line in lines:
        first, *rest = line
        cells = "".join(
            f'<td class="{"zero" if cell == "0.0" else ""} {c}">{escape(cell)}</td>'
            for cell, c in zip(rest, classes[1:], strict=True)
        )
        body.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return (
        f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    )


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [row["ID"] for row in rows]
    more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
    return ", ".join(names[:_SHOWN_IDS]) + more
