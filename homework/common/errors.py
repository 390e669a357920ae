"""Errors that end a command with one line: what is wrong, where, and how to fix it; and notes."""

from __future__ import annotations

import os
import re
import sys
from functools import cache

_LONGEST_WORD, _LONGEST = 300, 2000  # characters of a message


class InputError(Exception):
    """An error in what the user gave. One line: what is wrong, where, and how to fix it."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(message))


def printable(text: object) -> str:
    """Text that may quote a file, a server or a name, as a line that is safe to print.

    Control characters become visible, and the middle of a long word or text is left out.
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    line = re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: _cut(word[0], _LONGEST_WORD), line)
    return _cut(line, _LONGEST)


def _cut(text: str, most: int) -> str:
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def one_line(error: Exception) -> str:
    """The message of an error of a library as a printable line, shortened."""
    text = " ".join(str(error).split())
    return printable(text if len(text) <= 200 else f"{text[:200]}...")


@cache
def note(text: str) -> None:
    """Print a line to standard error, once, and in the first process of a command alone."""
    if os.environ.get("RANK", "0") == "0":
        print(printable(text), file=sys.stderr, flush=True)
