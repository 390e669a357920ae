"""The reasons: a sentence for the student, and a group for the staff's page."""

from __future__ import annotations

import pytest

from grader import reasons

CASES = (
    "Submission opens (50 MB at most)",
    "Model loads: load_vlm()",
    "Parameters at most 300M",
    "Accuracy on 128 questions",
    "Extra credit (80% to 85%)",
    "Course interface: VQADataset and benchmark",
)


def result(failed: int | None = None, detail: str = "", right: int = 96, denied=()) -> dict:
    """A result whose case number `failed` has failed with a detail."""
    statuses = ["ok"] * 6
    if failed is not None:
        statuses[failed:] = ["failed"] + ["not run"] * (5 - failed)
    cases = [
        {"name": name, "status": status, "detail": detail * (n == failed), "remarks": []}
        for n, (name, status) in enumerate(zip(CASES, statuses, strict=True))
    ]
    answered = failed is None or failed == 5
    return {
        "cases": cases,
        "kinds": {"ego": {"right": right, "asked": 128}} if answered else {},
        "accuracy": right / 128 if answered else None,
        "total": min(100, right / 128 / 0.7 * 100) if answered else 0.0,
        "denied": list(denied),
    }


@pytest.mark.parametrize(
    ("failed", "detail", "group", "sentence"),
    [
        (0, "not a readable zip: BadZipFile: File is not a zip file; make it with bundle.py",
         "the zip is refused", "The zip cannot be graded: not a readable zip"),
        (1, "importing the package and load_vlm() took over 60 s and was stopped",
         "over the time limit", "The model does not load: importing the package and load_vlm() t"),
        (1, "ImportError: cannot import name 'x' (homework/vlm.py, line 1)", "an import fails",
         "The model does not load: ImportError: cannot import name 'x' (homework/vlm.py, line 1)."),
        (1, "OSError: couldn't connect; the weights must be in this machine's hub cache",
         "weights are missing", "The model does not load: OSError"),
        (1, "the process ended itself with exit code 0", "ends the process", "The model does not"),
        (1, "PermissionError: tried to open a socket: not allowed in grading (homework/v.py, line)",
         "does what grading does not allow", "The model does not load: PermissionError: tried to"),
        (1, "AttributeError: no load_vlm", "an error while loading", "The model does not load: A"),
        (2, "300000001 parameters; the course refuses over 300000000, so the total is 0",
         "too many parameters", "The model is refused: 300000001 parameters"),
        (3, "KeyError: 'q' (homework/vlm.py, line 4)", "an error while answering",
         "The model does not answer the questions: KeyError: 'q' (homework/vlm.py, line 4)."),
        (3, "used over 8.0 GB of memory and was stopped", "over the memory limit", "The model doe"),
        (3, "the process was ended by SIGKILL (out of memory?)", "over the memory limit", "The mo"),
        (3, "started over 512 threads and was stopped", "too many threads", "The model does not"),
        (3, "the submission wrote into the grader's channel", "interferes with the grader", "The"),
    ],
)  # fmt: skip
def test_a_failure_has_a_group_and_a_sentence(failed, detail, group, sentence):
    found = result(failed, detail)
    assert reasons.group(found) == group
    assert reasons.reason(found).startswith(sentence) and reasons.reason(found).endswith(".")


def test_a_score_is_told_by_its_answers():
    assert reasons.reason(result()) == "96 of 128 answers are right (75.0%)."
    assert reasons.reason(result(right=64)) == (
        "64 of 128 answers are right (50.0%); full points need 70%."
    )
    assert reasons.group(result()) == reasons.GRADED


def test_failing_course_calls_are_told_beside_the_score():
    found = result(5, "AttributeError: no benchmark")
    assert reasons.group(found) == reasons.GRADED
    assert reasons.reason(found).startswith("96 of 128 answers are right (75.0%). The course's own")
    assert reasons.reason(found).endswith("AttributeError: no benchmark.")


def test_what_was_denied_is_told():
    lines = ["tried to open a socket: not allowed in grading (homework/vlm.py, line 3)"]
    assert reasons.reason(result(denied=lines)) == (
        "96 of 128 answers are right (75.0%). The submission tried to open a socket "
        "(homework/vlm.py, line 3): grading does not allow this. It costs no points here, but the "
        "course's grader may refuse the submission."
    )
    assert "line 3), and 1 more: grading" in reasons.reason(result(denied=lines * 2))


@pytest.mark.parametrize("line", ["has earned 105 points", "tried to " + "x" * 300])
def test_a_denial_that_the_submission_made_up_is_not_quoted(line):
    text = reasons.reason(result(denied=[line]))
    assert "The submission wrote into the grader's channel: grading does not allow" in text
    assert line not in text


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("used over 8.0 GB of memory and was stopped", True),
        ("the process was ended by SIGKILL (out of memory?)", True),
        ("loading and answering took over 60 s and was stopped", True),
        ("MemoryError", False),
    ],
)
def test_memory_and_time_may_be_used_up_by_others(detail, expected):
    assert reasons.may_be_caused_by_others(result(3, detail)) == expected
    assert not reasons.may_be_caused_by_others(result())
