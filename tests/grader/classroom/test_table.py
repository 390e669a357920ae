"""The table of a class: no cell of it is a formula in any spreadsheet."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.classroom.table import safe_cell

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207c\u208a"


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "before", ["", "\n", "\r\n", "\t", " ", "x;", "x; ", "x;;", 'x;"', "x\n", "\ufeff", "a|"]
)
def test_no_cell_begins_with_the_sign_of_a_formula(before, sign):
    found = safe_cell(f"{before}{sign}1+1")
    assert found != f"{before}{sign}1+1" and found.replace("'", "") == f"{before}{sign}1+1"


@given(st.text(st.sampled_from(f"a1 ;,\t\n\r\"'|{SIGNS}"), max_size=12))
def test_a_spreadsheet_of_any_separator_finds_no_formula(text):
    line = io.StringIO()
    csv.writer(line).writerow(["ID", safe_cell(text), "x"])
    for separator in ";\t|":
        for cell in line.getvalue().replace("\r", "\n").replace("\n", separator).split(separator):
            start = unicodedata.normalize("NFKC", cell.lstrip(' "'))[:1]
            assert not start or start not in "=+-@"


@pytest.mark.parametrize("value", ["ab-1.zip", "a, b; c", "5 of 10; -", "", 1.5, None, "a=1", " "])
def test_other_cells_stay(value):
    assert safe_cell(value) == (value if value != "5 of 10; -" else "5 of 10;' -")
