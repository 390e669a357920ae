"""Errors that end a command with one line: what is wrong, where, and how to fix it; and notes."""

from __future__ import annotations

import os
import sys
from functools import cache

NAMED = 4  # pictures of a batch that an error names


class InputError(Exception):
    """An error in what the user gave. One line: what is wrong, where, and how to fix it."""


def one_line(error: Exception) -> str:
    """The message of an error without line breaks, shortened."""
    return " ".join(str(error).split())[:200]


@cache
def note(text: str) -> None:
    """Print a line to standard error, once, and in the first process of a command alone."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def not_finite(what: str, step: int, pictures: list[str]) -> InputError:
    """The error that stops training before an optimizer step with this loss or gradient."""
    named = ", ".join(pictures[:NAMED]) + (", ..." if len(pictures) > NAMED else "")
    return InputError(
        f"step {step}: the {what} of this batch is not finite: {named}; lower --learning_rate or "
        "repair or remove these pictures (the last checkpoint is kept)"
    )
