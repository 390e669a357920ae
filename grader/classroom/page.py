"""A page about a class, one HTML file without a script: it opens from disk and asks no network."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .. import reasons

_STYLE = """
:root {
  --ground: #f6f5f2; --card: #fff; --ink: #22262b; --soft: #666d75; --line: #e2dfd8;
  --fill: #8fb8cc; --wrong: #b5412b;
}
@media (prefers-color-scheme: dark) { :root {
  --ground: #15181b; --card: #1e2226; --ink: #e6e4df; --soft: #9aa1a8; --line: #32383e;
  --fill: #3c6f88; --wrong: #f08f78;
} }
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 20px; max-width: 1180px; overflow-wrap: anywhere;
  background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 30px 0 4px; }
p { margin: 0 0 12px; }
.card { background: var(--card); border: 1px solid var(--line); padding: 14px; border-radius: 8px; }
.soft, .detail, footer, thead th { color: var(--soft); font-size: 0.87rem; }
footer { padding: 30px 0; }
.share { display: grid; grid-template-columns: 9rem 1fr 4rem 12rem; gap: 4px 14px; padding: 4px 0; }
.share .number { text-align: right; font-weight: 600; }
svg { display: block; width: 100%; height: 16px; align-self: center; }
rect { fill: var(--fill); }
rect.none { fill: var(--wrong); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { vertical-align: top; text-align: right; padding: 5px 6px; font-weight: 400; }
tr { border-bottom: 1px solid var(--line); }
thead th, td { white-space: nowrap; width: 1%; }
th:first-child { text-align: left; }
thead th:first-child { width: 20%; }
th.text, td.text { text-align: left; white-space: normal; width: auto; }
.zero { color: var(--wrong); font-weight: 600; }
@media (max-width: 720px) {
  .minor { display: none; }
  .share { grid-template-columns: 7rem 1fr 4rem; }
  .share .detail { grid-column: 2 / 4; }
  thead th:first-child { width: 32%; }
}
"""
_TITLE = "Grades of"
_BINS = 10  # of ten points each, below full points
_SHOWN_IDS = 12  # of a group


def is_page(content: bytes) -> bool:
    """Whether a file's content is what `render` makes."""
    return f"<title>{_TITLE} ".encode() in content


def render(
    rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], notes: Sequence[str] = ()
) -> str:
    """The page.

    Args:
        rows: of the class's table, as `table.row` makes them.
        settings: what `grading.depends_on` returns.
        notes: sentences for the top.
    """
    style_hash = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
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
<title>{_TITLE} {len(rows)} submissions</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>Grades of {len(rows)} submissions</h1>{_summary(rows, settings)}
{"".join(f'<p class="card">{escape(note)}</p>' for note in notes)}</header>
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
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
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
    return f'<p class="soft">{note}</p>{bars}'


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
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [row["ID"] for row in rows]
    more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
    return ", ".join(names[:_SHOWN_IDS]) + more
