"""Fills the scores of a class into a gradebook that was exported from Canvas.

Its columns are Student, ID (Canvas's number), SIS User ID, SIS Login ID, Section, and one for each
assignment, `NAME (NUMBER)`. Every byte outside the one assignment's column stays as it is, whatever
the separator, quoting and encoding are.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import GraderError

_ASSIGNMENT = re.compile(r"(?P<name>.+) \((?P<number>\d+)\)")
_POINTS_ROW = "Points Possible"
_BOM = "\ufeff"
_BOMS = (BOM_UTF8, "utf-8"), (BOM_UTF16_LE, "utf-16-le"), (BOM_UTF16_BE, "utf-16-be")
_SEPARATORS = ",;\t|"


class Cell:
    """A cell of a gradebook as it is written there, and the separator or line end after it."""

    def __init__(self, raw: str, end: str) -> None:
        self.raw, self.end = raw, end

    @property
    def value(self) -> str:
        """Its text without quotes and outer spaces."""
        text = self.raw.strip(f"{_BOM} ")
        if text[:1] == text[-1:] == '"':
            text = text[1:-1].replace('""', '"')
        return text.strip()


Row = list[Cell]


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
        content = path.read_bytes()
        self._encoding = _encoding(content)
        try:
            text = content.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise GraderError(f"{path}: cannot be read ({error}); export it again") from None
        for self._separator in _SEPARATORS:
            self._rows = _split(text, self._separator)
            for number, row in enumerate(self._rows[:3]):  # Excel may put "sep=;" first
                header = [cell.value for cell in row]
                if {"Student", "ID"} <= {*header}:
                    self._places = {name: header.index(name) for name in header}
                    self._assignment = _column(path, header, assignment)
                    self._students = [r for r in self._rows[number + 1 :] if self._cell(r, "ID")]
                    return
        raise GraderError(
            f"{path}: no columns 'Student' and 'ID'; export the gradebook from Canvas as CSV"
        )

    def is_filled(self, content: bytes) -> bool:
        """Whether a file's content is a gradebook with this assignment: students may be new."""
        rows = _split(content.decode(self._encoding), self._separator)[:3]
        named = {"Student", "ID", self._assignment}
        return any(named <= {cell.value for cell in row} for row in rows)

    def user(self, name: str) -> str:
        """Canvas's number of the one student that a submission's ID names; empty without one.

        An exact SIS Login ID comes before one that is equal but for case, then those before an @,
        and the SIS User ID.
        """
        logins = [(row, self._cell(row, "SIS Login ID")) for row in self._students]
        plain = name.casefold()
        for fits in (
            [row for row, login in logins if login == name],
            [row for row, login in logins if login.casefold() == plain],
            [row for row, login in logins if login.partition("@")[0].casefold() == plain],
            [row for row in self._students if self._cell(row, "SIS User ID").casefold() == plain],
        ):
            if name and fits:
                return self._cell(fits[0], "ID") if len(fits) == 1 else ""
        return ""

    def fill(self, rows: Iterable[Mapping[str, Any]]) -> Filled:
        """The gradebook with the totals of the rows of a class's table filled in."""
        by_user = {self._cell(row, "ID"): row for row in self._students}
        filled: set[str] = set()
        without_row = []
        for one in rows:
            user = one["canvas_user"] or self.user(one["ID"])
            if user not in by_user or user in filled or one["total"] is None:
                without_row.append(one["file"])
                continue
            self._write(by_user[user], self._number(one["total"]))
            filled.add(user)
        text = "".join(cell.raw + cell.end for row in self._rows for cell in row)
        others = [row for row in self._students if self._cell(row, "ID") not in filled]
        points = [row for row in self._rows if self._cell(row, "Student") == _POINTS_ROW]
        return Filled(
            text.encode(self._encoding),
            len(filled),
            [self._cell(row, "Student") for row in others],
            without_row,
            self._cell(points[0], self._assignment) if points else "",
        )

    def _write(self, row: Row, text: str) -> None:
        column = self._places[self._assignment]
        while len(row) <= column:  # a program may leave empty cells at the end out
            row.append(Cell("", row[-1].end))
            row[-2].end = self._separator
        quoted = row[column].raw.startswith('"') or self._separator in text
        row[column].raw = f'"{text}"' if quoted else text

    def _number(self, value: float) -> str:
        """A score, with a decimal comma where the gradebook's own numbers have one."""
        cells = [cell.value for row in self._rows for cell in row]
        points, commas = (
            sum(bool(re.fullmatch(rf"\d+{mark}\d+", c)) for c in cells) for mark in (r"\.", ",")
        )
        # Semicolons separate cells where the comma separates decimals.
        comma = commas > points or (commas == points and self._separator == ";")
        return f"{value:g}".replace(".", "," if comma else ".")

    def _cell(self, row: Sequence[Cell], column: str) -> str:
        place = self._places.get(column, len(row))
        return row[place].value if place < len(row) else ""


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


def _encoding(content: bytes) -> str:
    """The encoding of a gradebook; a byte order mark stays in the text."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    if 0 in content[:2]:
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "latin-1"  # keeps each byte of any 8-bit encoding; the columns' names are ASCII
    return "utf-8"


def _split(text: str, separator: str) -> list[Row]:
    """The rows of a CSV file; all their cells and ends one after another are the text again."""
    end = re.escape(separator)
    cell = rf'((?>{_BOM}?"(?:[^"]|"")*")?[^{end}\r\n]*)({end}|\r\n|\r|\n|\Z)'
    rows: list[Row] = [[]]
    for found in re.finditer(cell, text):
        if not found[0] and not rows[-1]:
            break  # the end of the text after that of the last line
        rows[-1].append(Cell(*found.groups()))
        if found[2] != separator:
            rows.append([])
    return rows
