"""The table of a class: grades.csv, and grades.json beside it with more of each grading."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import reasons
from ..files import has_fields, write_whole
from .names import Submission

# Column -> the case it shows: the points, or for a case without points ok, failed or not run.
CASES = {
    "opens": "Submission opens",
    "loads": "Model loads",
    "parameters": "Parameters",
    "accuracy_points": "Accuracy",
    "extra_points": "Extra credit",
    "course_calls": "Course interface",
}
COLUMNS = (
    "ID", "total", "accuracy", *CASES, "reason", "remarks", "seconds", "late", "hours_late",
    "penalty", "sha256", "file", "student", "canvas_user",
)  # fmt: skip
# Where a spreadsheet begins a cell, and the first character that it does not skip there.
_CELL_START = re.compile(
    r"""(?:\A|[;|\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029])(?=[\s"\x00-\x1f\u200b-\u200f\u2060\ufeff]*(\S))"""
)


def row(
    submission: Submission,
    record: Mapping[str, Any],
    hours_late: float | None,
    late_penalty: float = 0.0,
) -> dict[str, Any]:
    """What is known of a submission, ready for JSON; the columns first.

    Args:
        record: the journal's; or its `sha256` and an `error` of the grader itself.
        hours_late: None where nobody knows.
        late_penalty: percent of the points that each day or part of a day after the due date costs.
    """
    who = {
        "late": "yes" if submission.late or hours_late else "no",
        "hours_late": hours_late,
        "penalty": None,
        "sha256": record["sha256"],
        "file": submission.file,
        "student": submission.student,
        "canvas_user": submission.user,
    }
    if "error" in record:
        empty = dict.fromkeys(COLUMNS, None)
        reason = reasons.NOT_GRADED.format(record["error"])
        about = {"ID": submission.id, "reason": reason}
        return empty | about | {"group": "not graded"} | who
    result = record["result"]
    accuracy = result["accuracy"]
    days = math.ceil((hours_late or 0) / 24)
    who["penalty"] = round(result["total"] * min(1.0, days * late_penalty / 100), 2)
    reason = reasons.reason(result)
    if who["penalty"]:
        reason += f" {who['penalty']:g} points are taken off: {hours_late:g} hours late."
    remarks = [remark for case in result["cases"] for remark in case["remarks"]]
    return {
        "ID": submission.id,
        "total": round(result["total"] - who["penalty"], 2),
        "accuracy": None if accuracy is None else round(accuracy, 4),
        **{column: _cell(result, name) for column, name in CASES.items()},
        "reason": reason,
        "remarks": "; ".join(remarks),
        "seconds": round(record["seconds"], 1),
        **who,
        "group": reasons.group(result),
        "adapter_sha256": record["adapter_sha256"],
        **{name: result[name] for name in ("kinds", "cases", "course", "denied", "lock")},
    }


def write(path: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Write the CSV file, and beside it the JSON file, which has `about` beside the rows."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([safe_cell(one[column]) for column in COLUMNS] for one in rows)
    write_whole(path, text.getvalue())
    whole = json.dumps({**about, "submissions": rows}, indent=1)
    write_whole(path.with_suffix(".json"), whole + "\n")


def is_table(content: bytes) -> bool:
    """Whether a file's content is a table that `write` wrote, of this version or an earlier one."""
    return content.startswith(",".join(COLUMNS[:3]).encode())


def is_whole(content: bytes) -> bool:
    """Whether a file's content is what `write` wrote into the JSON file."""
    return has_fields(content, "submissions", "superseded")


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: a file may have any name.

    A spreadsheet whose separator is the semicolon begins a cell there, quoted or not, and some
    take the wide forms of the four signs for the signs.
    """
    if not isinstance(value, str):
        return value

    def quoted(start: re.Match[str]) -> str:
        return start[0] + "'" * (unicodedata.normalize("NFKC", start[1])[:1] in "=+-@")

    return _CELL_START.sub(quoted, value)


def _cell(result: Mapping[str, Any], name: str) -> Any:
    case = next(case for case in result["cases"] if case["name"].startswith(name))
    return round(case["points"], 2) if case["max_points"] else case["status"]
