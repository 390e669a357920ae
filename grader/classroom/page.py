"""A page about a class, one HTML file without a script: it opens from disk and asks no network."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from .. import reasons

_TEMPLATE = Path(__file__).with_name("page.html")
_BINS = 10  # of ten points each, below full points
_SHOWN_IDS = 12  # of a group
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
    template = _TEMPLATE.read_text("utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    sections = {
        "Totals": _totals(rows),
        "Failures by reason": _failures(rows),
        "Accuracy per kind of question": _kinds(rows),
        "Equal submissions": _equal(rows),
        "All submissions": _all(rows),
    }
    return Template(template).substitute(
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        count=len(rows),
        summary=escape(_summary(rows, settings)),
        notes="".join(f'<p class="card">{escape(note)}</p>' for note in notes),
        sections="\n".join(
            f'<section><h2>{title}</h2><div class="card">{content}</div></section>'
            for title, content in sections.items()
        ),
    )


def _summary(rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    totals = [row["total"] for row in rows if row["total"] is not None]
    late = sum(row["late"] == "yes" for row in rows)
    parts = [f"split {settings['split']}", f"time limit {settings['time_limit']:g} s"]
    if totals:
        parts.append(f"mean {statistics.mean(totals):.1f}, median {statistics.median(totals):.1f}")
    parts += [f"{late} late"] if late else []
    if ungraded := len(rows) - len(totals):
        parts.append(f"{ungraded} not graded")
    return "; ".join(parts)


def _share(label: str, share: float, number: str, detail: str = "", kind: str = "") -> str:
    """One row with a bar; `share` is in [0, 1]."""
    bar = (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" width="{100 * share:.2f}" height="1"/></svg>'
    )
    return (
        f'<div class="share"><span>{escape(label)}</span>{bar}'
        f'<span class="number">{number}</span><span class="detail">{escape(detail)}</span></div>'
    )


def _totals(rows: Sequence[Row]) -> str:
    names = ["0", "below 10", *(f"{10 * n} to below {10 * n + 10}" for n in range(1, _BINS))]
    names.append("100 to 105")
    counts = [0] * len(names)
    for row in rows:
        if row["total"] is not None:
            counts[min(int(row["total"] // 10), _BINS) + 1 if row["total"] > 0 else 0] += 1
    most = max(counts) or 1
    return "".join(
        _share(name, count / most, str(count), kind="" if place else "none")
        for place, (name, count) in enumerate(zip(names, counts, strict=True))
    )


def _failures(rows: Sequence[Row]) -> str:
    groups = defaultdict(list)
    for row in rows:
        if row["group"] != reasons.GRADED:
            groups[row["group"]].append(row)
    if not groups:
        return "<p>Every submission has answered the questions.</p>"
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [[name, str(len(found)), _names(found), found[0]["reason"]] for name, found in ordered]
    return _table(("failure", "count", "submissions", "the first one's reason"), lines)


def _kinds(rows: Sequence[Row]) -> str:
    found = defaultdict(list)
    for row in rows:
        for kind, counts in (row.get("kinds") or {}).items():
            found[kind].append(counts)
    if not found:
        return "<p>No submission has answered the questions.</p>"
    answered = max(map(len, found.values()))
    text = f"Mean of the {answered} submissions that answered, with the lowest and the highest."
    text = f'<p class="soft">{text}</p>'
    for kind, counts in found.items():
        shares = [one["right"] / one["asked"] for one in counts]
        mean, median = statistics.mean(shares), statistics.median(shares)
        detail = f"{min(shares):.0%} to {max(shares):.0%}, median {median:.0%}"
        text += _share(kind, mean, f"{mean:.1%}", detail)
    return text


def _equal(rows: Sequence[Row]) -> str:
    lines = [["all bytes", _names(group)] for group in same(rows, "sha256")]
    lines += [["adapter", _names(group)] for group in same(rows, "adapter_sha256")]
    if not lines:
        return "<p>No two submissions are equal, and no two have the same adapter.</p>"
    return _table(("equal", "submissions"), lines)


def same(rows: Iterable[Row], field: str) -> list[list[Row]]:
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


def _all(rows: Sequence[Row]) -> str:
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
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _names(rows: Sequence[Row]) -> str:
    names = [row["ID"] for row in rows]
    more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
    return ", ".join(names[:_SHOWN_IDS]) + more
