"""What the course's own grader does otherwise than this one. Pure: no files, no processes.

This grader gives the course's verdict where it can. Where it cannot, the report has a line that
begins with "the course's grader would". docs/grading.md has a table of these rules, and
tests/grader/test_course.py tests them. They were found by grading the same submissions with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import scoring

BATCH = 32  # questions in one call of answer()
_WOULD = "the course's grader would"


def is_correct(answer: str, expected: str) -> bool:
    """Whether the answer begins with the expected one, but for case and outer spaces."""
    return answer.strip().lower().startswith(expected.strip().lower())


def of_zip(tops: Sequence[str], package: str, repeated: Sequence[str]) -> list[str]:
    """Lines about a zip.

    Args:
        tops: names of its top-level folders.
        package: the one of them that holds the submission.
        repeated: names of the files that are in it more than once.
    """
    lines = []
    if len(tops) > 1:
        lines.append(
            f"{_WOULD} refuse this zip (expected one top-level folder, got {len(tops)}: "
            f"{', '.join(tops[:5])}); make it with bundle.py"
        )
    if package != "homework":
        lines.append(
            f"{_WOULD} import the folder {package!r} under that name, and so does this one"
        )
    if repeated:
        lines.append(
            f"{_WOULD} take the last of the entries of one name ({repeated[0]!r} is in the "
            "zip more than once), and so does this one"
        )
    return lines


def of_model(facts: Mapping[str, object]) -> list[str]:
    """Lines about a submission that has answered.

    Args:
        facts: what `child.Submission.course` returns; it comes from the submission's process, so
            that anything may be in it.
    """
    lines = []
    if facts.get("package.data") is False:
        lines.append(
            f"{_WOULD} give 0 points: it uses `data` of the imported package, and __init__.py does "
            "not import it; add: from . import data"
        )
    if facts.get("model.model") is False:
        lines.append(
            f"{_WOULD} give 0 points: it counts the parameters of `load_vlm().model`, and there is "
            "no such attribute with parameters()"
        )
    if facts.get("tuple") is True:
        lines.append(f"{_WOULD} accept the tuple that answer() returns, and so does this one")
    return lines


def score(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The score that the course's check gives; None if nothing was answered.

    Args:
        samples: each with `model_answer`, `correct_answer` and this grader's `is_correct`.

    Returns:
        `accuracy`, `total` points, and how many samples are judged `differently`.
    """
    if not samples:
        return None
    verdicts = [is_correct(s["model_answer"], s["correct_answer"]) for s in samples]
    accuracy = sum(verdicts) / len(verdicts)
    return {
        "accuracy": accuracy,
        "total": scoring.points(accuracy) + scoring.extra_points(accuracy),
        "differently": sum(v != s["is_correct"] for v, s in zip(verdicts, samples, strict=True)),
    }


def of_score(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line where the course's check judges any of the samples otherwise; see `score`."""
    found = score(samples)
    if not found or not found["differently"]:
        return []
    return [
        f"{_WOULD} give {found['total']:.1f} points ({found['accuracy']:.1%}): it accepts any "
        "answer that begins with the right one, "
        f"and judges {found['differently']} answers otherwise"
    ]
