"""The two ways grading can fail, and text that is safe to print."""

from __future__ import annotations

import re


class GraderError(Exception):
    """The grader itself cannot work. One line: what is wrong, where, and how to fix it."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SubmissionError(Exception):
    """The submission is at fault: a scored result, never a crash.

    Args:
        message: one line.
        details: the submission's own traceback or last output, for -v; may be empty.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(one_line(message))
        self.details = details


def one_line(text: str, limit: int = 400) -> str:
    """`text` on one line, without control characters, cut at `limit` characters."""
    text = " ".join(_visible(line) for line in text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def printable(text: str) -> str:
    """`text` with control characters made visible, and without the middle of a long word.

    The end stays, as that of a message says how to fix it; of 4,000 characters at most.
    """
    return re.sub(r"(\S{150})\S{10,}(\S{150})", r"\1 ... \2", _visible(text))[:4000]


def safe_lines(text: str) -> list[str]:
    """The non-empty lines of `text`, control characters (terminal escapes) made visible."""
    return [_visible(line) for line in text.splitlines() if line.strip()]


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
