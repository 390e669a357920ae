"""The files that the grading of a class writes: checked before it, as it takes hours."""

from __future__ import annotations

from pathlib import Path

from ..errors import GraderError
from ..files import check_output
from . import page, table
from .canvas import Gradebook

FILLED = ".canvas.csv"  # suffix of the gradebook's copy


def check(output: Path, exported: Path | None, gradebook: Gradebook | None) -> None:
    """Check that all files can be written, and that they replace nothing but earlier results.

    Args:
        output: the table; the others lie beside it.
        exported: the file of the gradebook.

    Raises:
        GraderError: one may not or cannot be written.
    """
    forms = {".csv": table.is_table, ".json": table.is_whole, ".html": page.is_page}
    if gradebook:
        forms[FILLED] = gradebook.is_filled
    for suffix, is_own in forms.items():
        path = output.with_suffix(suffix)
        if exported and path.exists() and path.samefile(exported):
            raise GraderError(f"{path}: is the gradebook that you gave; give another --output")
        check_output(path, is_own)
