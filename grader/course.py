"""Where the course's own grader differs from this one. Pure: no files, no processes.

Where the course's grader would refuse a submission or give another score, a line of the report
begins with "the course's grader would". docs/grading.md has a table of these rules. They were found
by grading the same submissions with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import scoring

BATCH = 32  # questions in one call of answer()
_WOULD = "the course's grader would"
_REFUSES = (f"{_WOULD} refuse", f"{_WOULD} give 0 points")


def is_correct(answer: str, expected: str) -> bool:
    """Whether the answer begins with the expected one, but for case and outer spaces."""
    return answer.strip().lower().startswith(expected.strip().lower())


def of_zip(tops: Sequence[str]) -> list[str]:
    """A line about a zip with several top-level folders, given their names."""
    if len(tops) < 2:
        return []
    return [
        f"{_WOULD} refuse this zip (expected one top-level folder, got {len(tops)}: "
        f"{', '.join(tops[:5])}); make it with bundle.py"
    ]


# A fact about the model, the value that makes it worth a line, and the line.
_OF_MODEL = (
    ("package.data", False, "give 0 points: it uses `data` of the imported package, and "
     "__init__.py does not import it; add: from . import data"),
    ("model.model", False, "give 0 points: it counts the parameters of `load_vlm().model`, and "
     "there is no such attribute with parameters()"),
    ("clip", True, "also grade the CLIP half (load_clip and MultiChoiceQADataset; each half is "
     "worth 50 points there); this one grades the VLM half alone, of 100"),
)  # fmt: skip


def of_model(facts: object) -> list[str]:
    """Lines from what `child.Submission.load` returned; the submission may have changed it."""
    known = facts if isinstance(facts, dict) else {}
    return [f"{_WOULD} {line}" for fact, value, line in _OF_MODEL if known.get(fact) is value]


def of_time(seconds: float, limit: float) -> list[str]:
    """A line if the time, with the import of the packages, is over the limit (both in seconds)."""
    if seconds <= limit:
        return []
    return [
        f"{_WOULD} give 0 points if its machine is as fast: it counts the import of torch and "
        f"other packages, too, which makes {seconds:.1f} s of {limit:g} s"
    ]


def verdict(result: Mapping[str, Any]) -> str:
    """A sentence about what the course's grader gives for a result, with these packages."""
    versions = result["python"]["packages"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("transformers", "torch", "peft"))
    by = f"By the course's rules, with {names}"
    failed = [case["detail"] for case in result["cases"] if case["status"] == "failed"]
    remarks = [remark for case in result["cases"] for remark in case["remarks"]]
    refused = [remark for remark in remarks if remark.startswith(_REFUSES)]
    if found := failed or refused:
        return f"{by}: 0 points ({found[0]})"
    total, seconds = result["course"]["total"], result["course"]["seconds"]
    return f"{by}: {total:.1f} of {scoring.MAX_TOTAL:g} points, in {seconds:.1f} s"


def score(samples: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """The score that the course's check gives.

    Args:
        samples: each with `model_answer`, `correct_answer` and this grader's `is_correct`.
        seconds: that it took as the course counts them.

    Returns:
        `accuracy`, `total` points, how many samples are judged `differently`, and the `seconds`.
    """
    verdicts = [is_correct(s["model_answer"], s["correct_answer"]) for s in samples]
    accuracy = sum(verdicts) / len(verdicts)
    return {
        "accuracy": accuracy,
        "total": scoring.points(accuracy) + scoring.extra_points(accuracy),
        "differently": sum(v != s["is_correct"] for v, s in zip(verdicts, samples, strict=True)),
        "seconds": round(seconds, 1),
    }


def of_score(found: Mapping[str, Any] | None) -> list[str]:
    """A line where the course's check, which gives this `score`, judges any sample otherwise."""
    if not found or not found["differently"]:
        return []
    return [
        f"{_WOULD} give {found['total']:.1f} points ({found['accuracy']:.1%}): it accepts any "
        "answer that begins with the right one, and judges "
        f"{found['differently']} answers otherwise"
    ]
