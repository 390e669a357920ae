"""What a person can do about an exception that many submissions end with. Pure but for versions."""

from __future__ import annotations

import re
from importlib import metadata
from typing import NamedTuple

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
        r"AutoModelForVision2Seq",
        "transformers 5 has no AutoModelForVision2Seq (installed: {transformers}); use "
        "AutoModelForImageTextToText in its place",
    ),
    Advice(
        r"No module named 'torchvision'|requires the Torchvision library",
        "torchvision is not installed (requirements.txt leaves it out): use an image processor "
        "that needs Pillow alone, such as Idefics3ImageProcessorPil, or install the torchvision "
        "that fits the installed torch",
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


def advice(message: str, details: str = "") -> str | None:
    """What to do about a failure, or None where nothing is known.

    Args:
        message: the reason that is reported.
        details: its traceback; may be empty.
    """
    text = f"{message}\n{details}"
    for row in TABLE:
        if re.search(row.pattern, text):
            found = _CHECKPOINT.search(text)
            checkpoint = found.group() if found else SMOLVLM
            return row.text.format(transformers=_version("transformers"), checkpoint=checkpoint)
    return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
