"""Fills the scores of a class into a gradebook that was exported from Canvas.

Its columns are Student, ID (Canvas's number), SIS User ID, SIS Login ID, Section, and one for each
assignment, `NAME (NUMBER)`. Only the one assignment's column changes; separator and encoding stay.
"""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import GraderError

_ASSIGNMENT = re.compile(r"(?P<name>.+) \((?P<number>\d+)\)")
_POINTS_ROW = "Points Possible"
_SEPARATORS = ",;\t"
# What a file of these encodings begins with; Excel's "Unicode text" is UTF-16.
_MARKS = {BOM_UTF8: "utf-8-sig", BOM_UTF16_LE: "utf-16", BOM_UTF16_BE: "utf-16"}


class Filled(NamedTuple):
    """A gradebook with the scores."""

    content: bytes  # of the file
    count: int  # rows that got a score
    without_submission: list[str]  # the students of the other rows
    without_row: list[str]  # submissions that fit no row, or more than one, or have no score
    points_possible: str  # of the assignment, as the gradebook has it; may be empty


class Gradebook:
    """An exported gradebook; GraderError if it is none, or has no such assignment.

    Args:
        assignment: name or number of the assignment; None if there is only one.
    """

    def __init__(self, path: Path, assignment: str | None) -> None:
        try:
            self._encoding, self._separator, self._rows = _read(path.read_bytes())
        except ValueError as error:
            raise GraderError(f"{path}: is no CSV file ({error}); export it again") from None
        header = _header(self._rows)
        if not {"Student", "ID"} <= {*header}:
            raise GraderError(
                f"{path}: no columns 'Student' and 'ID'; export the gradebook from Canvas as CSV"
            )
        self._places = {name: header.index(name) for name in header}
        self._assignment = _column(path, header, assignment)
        self._students = [r for r in self._rows[1:] if self._cell(r, "ID")]

    def is_filled(self, content: bytes) -> bool:
        """Whether a file's content is a gradebook with this assignment: students may be new."""
        return {"Student", "ID", self._assignment} <= {*_header(_read(content)[2])}

    def user(self, id: str) -> str:
        """Canvas's number of the one student that a submission's ID names; empty without one.

        It may be the SIS Login ID, the part of it before an @, or the SIS User ID, in this order.
        """
        logins = [self._cell(row, "SIS Login ID") for row in self._students]
        users = [self._cell(row, "SIS User ID") for row in self._students]
        for names in logins, [login.partition("@")[0] for login in logins], users:
            fits = [
                self._cell(row, "ID")
                for row, name in zip(self._students, names, strict=True)
                if name and name.casefold() == id.casefold()
            ]
            if fits:
                return fits[0] if len(fits) == 1 else ""
        return ""

    def fill(self, rows: Iterable[Mapping[str, Any]]) -> Filled:
        """The gradebook with the totals of the rows of a class's table filled in."""
        by_user = {self._cell(row, "ID"): row for row in self._students}
        filled: set[str] = set()
        without_row = []
        place = self._places[self._assignment]
        for one in rows:
            user = one["canvas_user"] or self.user(one["ID"])
            if user not in by_user or user in filled or one["total"] is None:
                without_row.append(one["file"])
                continue
            row = by_user[user]
            row += [""] * (place + 1 - len(row))  # a program may leave empty cells at the end out
            row[place] = self._number(one["total"])
            filled.add(user)
        others = [row for row in self._students if self._cell(row, "ID") not in filled]
        points = [row for row in self._rows if self._cell(row, "Student") == _POINTS_ROW]
        return Filled(
            self._content(),
            len(filled),
            [self._cell(row, "Student") for row in others],
            without_row,
            self._cell(points[0], self._assignment) if points else "",
        )

    def _content(self) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self._separator).writerows(self._rows)
        return text.getvalue().encode(self._encoding)

    def _number(self, value: float) -> str:
        """A score with the decimal sign of the other numbers; a comma if only semicolons tell."""
        cells = (cell.strip() for row in self._rows for cell in row)
        signs = {m[1] for cell in cells if (m := re.fullmatch(r"\d+([.,])\d+", cell))}
        if not signs and self._separator == ";":
            signs = {","}
        # Where commas separate, a comma in a number is that of thousands.
        comma = self._separator != "," and signs == {","}
        return f"{value:g}".replace(".", "," if comma else ".")

    def _cell(self, row: Sequence[str], column: str) -> str:
        place = self._places.get(column, len(row))
        return row[place].strip() if place < len(row) else ""


def _read(content: bytes) -> tuple[str, str, list[list[str]]]:
    """Encoding, separator and rows of a CSV file; a ValueError if it is none."""
    # Latin-1 keeps each byte of any 8-bit encoding; the columns' names are ASCII.
    encoding = next((_MARKS[mark] for mark in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = content.decode(encoding)
    first = text.partition("\n")[0]
    fits = (s for s in _SEPARATORS if "ID" in (cell.strip(' "\r') for cell in first.split(s)))
    separator = next(fits, ",")
    try:
        # Strict: an open quote would take all students after it into one cell.
        rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)]
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return encoding, separator, rows


def _header(rows: Sequence[Sequence[str]]) -> list[str]:
    return [cell.strip() for cell in rows[0]] if rows else []


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
