"""Fills the scores of a class into a gradebook that was exported from Canvas.

Its columns are Student, ID (Canvas's number), SIS User ID, SIS Login ID, Section, and one for each
assignment, `NAME (NUMBER)`. All but the one assignment's column stays as it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import GraderError

_ASSIGNMENT = re.compile(r"(?P<name>.+) \((?P<number>\d+)\)")
_POINTS_ROW = "Points Possible"
_BOM = "\ufeff"


class Filled(NamedTuple):
    """A gradebook with the scores.

    Attributes:
        text: of the file.
        count: rows that got a score.
        without_submission: the students of the other rows.
        without_row: submissions that fit no row, or more than one, or have no score.
        points_possible: of the assignment, as the gradebook has it; may be empty.
    """

    text: str
    count: int
    without_submission: list[str]
    without_row: list[str]
    points_possible: str


class Gradebook:
    """An exported gradebook.

    Args:
        path: of it.
        assignment: name or number of the assignment; None if there is only one.

    Raises:
        GraderError: it is no gradebook, or has no such assignment.
    """

    def __init__(self, path: Path, assignment: str | None) -> None:
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise GraderError(
                f"{path}: cannot be read ({error}); export the gradebook from Canvas as CSV again"
            ) from None
        self._bom = _BOM * text.startswith(_BOM)
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._rows = [*csv.reader(io.StringIO(text.removeprefix(_BOM), newline=""))]
        header = self._rows[0] if self._rows else []
        if not {"Student", "ID"} <= {*header}:
            raise GraderError(
                f"{path}: no columns 'Student' and 'ID'; export the gradebook from Canvas as CSV"
            )
        self._places = {name: header.index(name) for name in header}
        self._column = self._places[_column(path, header, assignment)]

    def fill(self, rows: Iterable[Mapping[str, Any]]) -> Filled:
        """The gradebook with the totals of a class filled in.

        Args:
            rows: of the class's table.
        """
        students = [row for row in self._rows[1:] if self._cell(row, "ID")]
        by_user = {self._cell(row, "ID"): row for row in students}
        filled: list[int] = []
        without_row = []
        for one in rows:
            if one["canvas_user"]:
                fits = [by_user[one["canvas_user"]]] if one["canvas_user"] in by_user else []
            else:
                fits = [row for row in students if one["ID"].casefold() in self._logins(row)]
            if len(fits) != 1 or id(fits[0]) in filled or one["total"] is None:
                without_row.append(one["file"])
                continue
            fits[0] += [""] * (self._column + 1 - len(fits[0]))
            fits[0][self._column] = f"{one['total']:g}"
            filled.append(id(fits[0]))
        text = io.StringIO()
        csv.writer(text, lineterminator=self._line_end).writerows(self._rows)
        others = [self._cell(row, "Student") for row in students if id(row) not in filled]
        return Filled(
            self._bom + text.getvalue(), len(filled), others, without_row, self._points_possible()
        )

    def _logins(self, row: Sequence[str]) -> set[str]:
        """What a submission of a student may be named by."""
        login = self._cell(row, "SIS Login ID")
        names = {login, login.partition("@")[0], self._cell(row, "SIS User ID")}
        return {name.casefold() for name in names if name}

    def _points_possible(self) -> str:
        for row in self._rows[1:]:
            if self._cell(row, "Student") == _POINTS_ROW:
                return row[self._column] if self._column < len(row) else ""
        return ""

    def _cell(self, row: Sequence[str], column: str) -> str:
        place = self._places.get(column, len(row))
        return row[place].strip() if place < len(row) else ""


def _column(path: Path, header: Sequence[str], assignment: str | None) -> str:
    """The name of the assignment's column."""
    found = {name: match for name in header if (match := _ASSIGNMENT.fullmatch(name))}
    fits = [
        name
        for name, match in found.items()
        if assignment is None or assignment in (name, match["name"], match["number"])
    ]
    if len(fits) != 1:
        what = "no assignment" if not fits else "more than one assignment"
        asked = f" named {assignment!r}" if assignment else ""
        names = "; ".join(list(found)[:8]) or "none"
        raise GraderError(
            f"{path}: {what}{asked}; give --assignment one of its columns, NAME (NUMBER): {names}"
        )
    return fits[0]
