"""What a person can do about an exception that many submissions end with. Pure but for versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from . import interpreter

SMOLVLM = "HuggingFaceTB/SmolVLM-256M-Instruct"  # the course's starter code loads it
_CHECKPOINT = re.compile(r"HuggingFaceTB/[\w.-]*\w")


class Advice(NamedTuple):
    """A pattern of the exception's text, and what to do; both are searched and filled in here.

    Attributes:
        pattern: a regular expression for the message or the traceback.
        text: may contain {transformers}, the installed version, and {checkpoint}, the weights'
            name on the hub.
    """

    pattern: str
    text: str


TABLE = (
    Advice(
        r"(cannot import name|has no attribute) '?AutoModelForVision2Seq",
        "transformers 5 has no AutoModelForVision2Seq (installed: {transformers}): grade with the "
        "course's versions (--course), or use AutoModelForImageTextToText in its place",
    ),
    Advice(
        r"No module named 'torchvision'|requires the Torchvision library",
        "torchvision is not installed (requirements.txt leaves it out): use an image processor "
        "that needs Pillow alone, such as Idefics3ImageProcessorPil, or install the torchvision "
        "that fits the installed torch, or grade with the course's versions (--course)",
    ),
    Advice(
        r"couldn't connect to '\S*' to load|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|outgoing traffic has been disabled",
        "the grader is offline on purpose, so the weights must be in this machine's hub cache: run "
        "python -m homework.base_vlm download {checkpoint} once, with a network",
    ),
    Advice(
        r"No module named 'homework'",
        "the folder in the zip has another name and is imported under it; import its modules "
        "relatively (from . import data), or name the folder homework, as bundle.py does",
    ),
)


def advice(
    message: str, details: str = "", versions: Mapping[str, str | None] | None = None
) -> str | None:
    """What to do about a failure, or None where nothing is known.

    Args:
        message: the reason that is reported.
        details: its traceback; may be empty.
        versions: of the packages that the submission has; those of this Python by default.
    """
    text = f"{message}\n{details}"
    for row in TABLE:
        if re.search(row.pattern, text):
            found = _CHECKPOINT.search(text)
            checkpoint = found.group() if found else SMOLVLM
            version = (versions or interpreter.own().versions)["transformers"] or "none"
            return row.text.format(transformers=version, checkpoint=checkpoint)
    return None
