"""The reason of a score: one sentence that staff can send to the student as it is. Pure."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

GRADED = "graded"
VERSIONS = "made for other versions of the packages"
WEIGHTS = "weights are missing"
NOT_GRADED = (
    "Not graded, by no fault of the submission: the grader itself failed on it ({}). It is graded "
    "by hand or in a later run."
)
# What the failed case is about; {} stands for its detail.
_FAILED = (
    ("Submission opens", "The zip cannot be graded: {}."),
    ("Model loads", "The model does not load: {}."),
    ("Parameters", "The model is refused: {}."),
    ("Accuracy", "The model does not answer the questions: {}."),
)
# A pattern of the detail, and the group it belongs to; the first that fits.
_GROUPS = (
    (r"took over .* s and was stopped", "over the time limit"),
    (r"of memory|MemoryError|out of memory", "over the memory limit"),
    (r"over \d+ threads|can't start new thread", "too many threads"),
    (r"parameters; the course refuses", "too many parameters"),
    (r"grader's channel|number of parameters is not", "interferes with the grader"),
    (r"not allowed in grading|PermissionError", "does what grading does not allow"),
    (r"process ended itself|process was ended|SystemExit|KeyboardInterrupt", "ends the process"),
    (r"hub cache", WEIGHTS),
    (
        r"(cannot import name|has no attribute) '?AutoModelForVision2Seq"
        r"|(cannot import name \S+ from|No module named) '(transformers|peft|torch|torchvision|"
        r"huggingface_hub|tokenizers|accelerate|cv2)\b",
        VERSIONS,
    ),
    (r"ModuleNotFoundError|ImportError|SyntaxError", "an import fails"),
)
_OTHERWISE = {
    "Submission opens": "the zip is refused",
    "Model loads": "an error while loading",
    "Parameters": "an error while counting the parameters",
    "Accuracy": "an error while answering",
}
_DOWNLOAD = re.compile(r"python -m homework\.base_vlm download HuggingFaceTB/[\w.-]*\w")
_LONGEST_DENIAL = 200  # characters that are quoted
_MEMORY_OF_ALL = re.compile(r"used over .* of memory|out of memory\?")
_TIME = re.compile(_GROUPS[0][0])


def failed_case(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The case that ended a grading before the answers counted, or None."""
    names = tuple(_OTHERWISE)
    for case in result["cases"]:
        if case["status"] == "failed" and case["name"].startswith(names):
            return case
    return None


def group(result: Mapping[str, Any]) -> str:
    """A few words that failures of one sort share, or GRADED."""
    case = failed_case(result)
    if case is None:
        return GRADED
    for pattern, words in _GROUPS:
        if re.search(pattern, case["detail"]):
            return words
    return next(w for name, w in _OTHERWISE.items() if case["name"].startswith(name))


def reason(result: Mapping[str, Any]) -> str:
    """The sentence.

    Args:
        result: what `grade` returns.
    """
    if case := failed_case(result):
        template = next(t for name, t in _FAILED if case["name"].startswith(name))
        return template.format(case["detail"].rstrip(".")) + _denied(result)
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


def shared(
    rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str | None], again: Sequence[str]
) -> list[str]:
    """What the environment lacks for two or more submissions: a sentence each, with the cure.

    Args:
        rows: of a class's table.
        versions: of the packages that they were graded with.
        again: the command line that graded them.
    """
    notes = []
    counts = Counter(row["group"] for row in rows)
    if (count := counts[VERSIONS]) > 1:
        had = ", ".join(f"{name} {versions[name] or 'none'}" for name in ("transformers", "torch"))
        command = re.sub(r" --(resume\b|python[ =]('[^']*'|\S+))", "", shlex.join(again))
        cure = "give --python the Python of an environment that has them"
        if "--course" not in again:
            cure = f"grade again with the course's: {command} --course --resume"
        notes.append(
            f"{count} of {len(rows)} submissions are {VERSIONS} than those here ({had}); {cure}"
        )
    if (count := counts[WEIGHTS]) > 1:
        found = {
            d for row in rows if row["group"] == WEIGHTS for d in _DOWNLOAD.findall(row["reason"])
        }
        notes.append(
            f"{count} of {len(rows)} submissions need weights that are not in this machine's hub "
            f"cache: run {' and '.join(sorted(found))}, and grade them again into another --output"
        )
    return notes


def remarks(result: Mapping[str, Any]) -> str:
    """Where the course's own grader would differ; empty if nowhere."""
    return "; ".join(remark for case in result["cases"] for remark in case["remarks"])


def may_be_caused_by_others(result: Mapping[str, Any], time_is_own: bool) -> bool:
    """Whether submissions that were graded at the same time can be the cause of a failure.

    Memory is not told apart: the system may end any process when the machine has none left.

    Args:
        time_is_own: whether the time that others had the processor was not counted.
    """
    detail = case["detail"] if (case := failed_case(result)) else ""
    return bool(_MEMORY_OF_ALL.search(detail) or (not time_is_own and _TIME.search(detail)))


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
