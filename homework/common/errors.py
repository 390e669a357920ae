"""What ends a command: an error of one line that says what is wrong, where, and how to fix it."""

from __future__ import annotations

NAMED = 4  # of a batch's pictures, how many an error names


class InputError(Exception):
    """What the user gave is wrong. The message is one line: what, where, and how to fix it."""


def one_line(error: Exception) -> str:
    """An error's message without its line breaks, shortened."""
    return " ".join(str(error).split())[:200]


def not_finite(what: str, step: int, pictures: list[str]) -> InputError:
    """The error that stops training before a step with such a loss or gradient is taken."""
    named = ", ".join(pictures[:NAMED]) + (", ..." if len(pictures) > NAMED else "")
    return InputError(
        f"step {step}: the {what} of this batch is not finite: {named}; lower --learning_rate or "
        "remove what is wrong with these (the last checkpoint is kept)"
    )
