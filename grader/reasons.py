"""What a failure means: its reason, its group on the staff's page, what a person can do about it.

The reason is a sentence that staff can send to the student as it is. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from . import interpreter

GRADED = "graded"
VERSIONS = "made for other versions of the packages"
WEIGHTS = "weights are missing"
NOT_GRADED = (
    "Not graded, by no fault of the submission: the grader itself failed on it ({}). It is graded "
    "by hand or in a later run."
)
# The cases that must succeed for the answers to count: the sentence, {} is the case's detail, and
# the group where none of the below fits.
_CASES = {
    "Submission opens": ("The zip cannot be graded: {}.", "the zip is refused"),
    "Model loads": ("The model does not load: {}.", "an error while loading"),
    "Parameters": ("The model is refused: {}.", "an error while counting the parameters"),
    "Accuracy": ("The model does not answer the questions: {}.", "an error while answering"),
}
_TIME = r"took over .* s and was stopped"
_NO_CLASS = r"(cannot import name|has no attribute) '?AutoModelForVision2Seq"
# A pattern of the detail, and the group it belongs to; the first that fits.
_GROUPS = (
    (_TIME, "over the time limit"),
    (r"of memory|MemoryError|out of memory", "over the memory limit"),
    (r"over \d+ threads|can't start new thread", "too many threads"),
    (r"parameters; the course refuses", "too many parameters"),
    (r"grader's channel|number of parameters is not", "interferes with the grader"),
    (r"not allowed in grading|PermissionError", "does what grading does not allow"),
    (r"process ended itself|process was ended|SystemExit|KeyboardInterrupt", "ends the process"),
    (r"hub cache", WEIGHTS),
    (
        rf"{_NO_CLASS}|(cannot import name \S+ from|No module named) "
        r"'(transformers|peft|torch|torchvision|huggingface_hub|tokenizers|accelerate|cv2)\b",
        VERSIONS,
    ),
    (r"ModuleNotFoundError|ImportError|SyntaxError", "an import fails"),
)
# A pattern of the message or the traceback, and what to do. {transformers} is the version that the
# submission has, {checkpoint} the weights' name on the hub.
_ADVICE = (
    (
        _NO_CLASS,
        "transformers 5 has no AutoModelForVision2Seq (installed: {transformers}): grade with the "
        "course's versions (--course), or use AutoModelForImageTextToText in its place",
    ),
    (
        r"No module named 'torchvision'|requires the Torchvision library",
        "torchvision is not installed (requirements.txt leaves it out): use an image processor "
        "that needs Pillow alone, such as Idefics3ImageProcessorPil, or install the torchvision "
        "that fits the installed torch, or grade with the course's versions (--course)",
    ),
    (
        r"couldn't connect to '\S*' to load|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|outgoing traffic has been disabled",
        "the grader is offline on purpose, so the weights must be in this machine's hub cache: run "
        "python -m homework.base_vlm download {checkpoint} once, with a network",
    ),
    (
        r"No module named 'homework'",
        "the folder in the zip has another name and is imported under it; import its modules "
        "relatively (from . import data), or name the folder homework, as bundle.py does",
    ),
)
_CHECKPOINT = r"HuggingFaceTB/[\w.-]*\w"
SMOLVLM = "HuggingFaceTB/SmolVLM-256M-Instruct"  # the course's starter code loads it
_LONGEST_DENIAL = 200  # characters that are quoted
_SHARED = rf"used over .* of memory|out of memory\?|{_TIME}"


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
    for pattern, what in _ADVICE:
        if re.search(pattern, text):
            found = re.search(_CHECKPOINT, text)
            checkpoint = found.group() if found else SMOLVLM
            version = (versions or interpreter.own().versions)["transformers"] or "none"
            return what.format(transformers=version, checkpoint=checkpoint)
    return None


def _failed(result: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Detail, sentence and group of the case that ended a grading before the answers counted."""
    for case in result["cases"]:
        for name, (sentence, group) in _CASES.items():
            if case["status"] == "failed" and case["name"].startswith(name):
                return case["detail"], sentence, group
    return None


def group(result: Mapping[str, Any]) -> str:
    """A few words that failures of one sort share, or GRADED."""
    if not (failed := _failed(result)):
        return GRADED
    detail, _, otherwise = failed
    return next((words for form, words in _GROUPS if re.search(form, detail)), otherwise)


def reason(result: Mapping[str, Any]) -> str:
    """The sentence about what `grade` returns."""
    if failed := _failed(result):
        detail, sentence, _ = failed
        return sentence.format(detail.rstrip(".")) + _denied(result)
    right = sum(row["right"] for row in result["kinds"].values())
    asked = sum(row["asked"] for row in result["kinds"].values())
    text = f"{right} of {asked} answers are right ({result['accuracy']:.1%})"
    text += "." if result["total"] >= 100 else "; full points need 70%."
    interface = result["cases"][-1]
    if interface["status"] == "failed":
        text += (
            " The course's own calls, VQADataset and benchmark, fail here and may cost all points "
            f"in the course's grader: {interface['detail'].rstrip('.')}."
        )
    return text + _denied(result)


def shared(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str | None]) -> list[str]:
    """What the environment lacks for two or more submissions: a sentence each, with the cure.

    Args:
        rows: of a class's table.
        versions: of the packages that they were graded with.
    """
    had = ", ".join(f"{name} {versions[name] or 'none'}" for name in ("transformers", "torch"))
    sentences = {
        VERSIONS: f"are {VERSIONS} than those here ({had}); --course takes the course's versions, "
        "--python those of another environment",
        WEIGHTS: "need weights that are not in this machine's hub cache; download them as their "
        "reasons say, and grade again into another --output",
    }
    counts = Counter(row["group"] for row in rows)
    return [
        f"{counts[group]} of {len(rows)} submissions {sentence}"
        for group, sentence in sentences.items()
        if counts[group] > 1
    ]


def may_be_caused_by_others(result: Mapping[str, Any]) -> bool:
    """Whether submissions that were graded at the same time can be the cause of a failure.

    The system may end any process when the machine has no memory left, and a machine may have
    fewer processors than it shows, as in a container with a quota.
    """
    return bool((failed := _failed(result)) and re.search(_SHARED, failed[0]))


def _denied(result: Mapping[str, Any]) -> str:
    denied = result["denied"]
    if not denied:
        return ""
    first = denied[0].replace(": not allowed in grading", "")
    # A submission can send lines of its own; the lock's begin like this and are short.
    if not first.startswith("tried to ") or len(first) > _LONGEST_DENIAL:
        first = "wrote into the grader's channel"
    more = f", and {len(denied) - 1} more" if len(denied) > 1 else ""
    return (
        f" The submission {first}{more}: grading does not allow this. It costs no points here, but "
        "the course's grader may refuse the submission."
    )
