"""Reads the lines that the child sends; the submission may have written anything there."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from .child import MAX_TEXT
from .errors import SubmissionError, one_line

# What 32 answers of `child.MAX_ANSWER` letters take at most; JSON grows by 30 when it is read.
MAX_REPLY_BYTES = 4_000_000
DENIED = b'{"denied": '  # begins a line about a denial
FORGED = "the submission wrote into the grader's channel"


def read_reply(line: bytes, number: int) -> Any:
    """The value in the reply to a request.

    Raises:
        SubmissionError: it is none, or not to this request; or the submission raised.
    """
    try:
        reply = json.loads(line)
        if reply["id"] == number and type(reply["id"]) is int:
            if "error" not in reply:
                return reply["value"]
            texts = reply["error"]["message"], reply["error"]["traceback"]
            if all(isinstance(text, str) for text in texts):
                raise SubmissionError(*(text[:MAX_TEXT] for text in texts))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise SubmissionError(FORGED)


def read_denial(line: bytes) -> str:
    """The sentence of a `denied` line; the submission may have written it."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        # The child's own are shorter than this, however JSON writes their letters.
        if len(line) < 7 * MAX_TEXT and isinstance(sentence := json.loads(line)["denied"], str):
            return one_line(sentence)
    return "tried to write into the grader's channel"
