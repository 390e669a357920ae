"""Grades one submission, case by case; the child answers, the score is computed here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import course, interpreter, labels, reasons, scoring, submission
from .child import MAX_ANSWER
from .errors import SubmissionError, one_line, safe_lines
from .files import private_folder
from .interpreter import Interpreter
from .process import Child
from .replies import FORGED
from .report import Case, Report
from .usage import Slot

TIME_LIMIT_S = 60.0  # for the submission's import, load_vlm(), parameters() and all answers
PARAMETER_LIMIT = 300_000_000
INTERFACE_QUESTIONS = 4
SHOWN_DENIALS = 10  # the others need -v
OPEN = "Not locked (--open): the submission's code runs with all your rights"


def grade(
    path: Path,
    data_dir: Path,
    split: str,
    time_limit: float,
    report: Report,
    locked: bool = True,
    slot: Slot | None = None,
    hidden: Sequence[Path] = (),
    python: Interpreter | None = None,
) -> dict[str, Any]:
    """Grade a submission and report every case.

    Args:
        path: an existing zip, or the homework folder, or a folder that contains it.
        data_dir: the data folder; `data_dir/split` holds the questions.
        time_limit: seconds for importing, `load_vlm()`, counting parameters and all answers.
        locked: whether the submission's process is locked; see `grader.lock`.
        slot: what it may use of the machine; all of it by default.
        hidden: more files and folders that the submission may not read, beside the data.
        python: what runs it; the grader's own Python by default.

    Returns:
        The result, ready for JSON: total, accuracy, cases, kinds, samples, the lock's layers
        and what they denied. A denial costs no points by itself.

    Raises:
        GraderError: the grader itself cannot work. A submission's fault is a result instead.
    """
    questions = labels.asked(data_dir, split)
    python = python or interpreter.own()
    grading = _Grading(questions, split, time_limit, report)
    report.say(f"Grading {one_line(str(path))}")
    if not python.is_own:
        report.say(f"Run by {one_line(str(python))}")
    # A case that fails ends the run: none of the later ones could mean anything.
    with contextlib.suppress(SubmissionError), private_folder() as folder:
        package = grading.unpack(path, folder)
        submission.write_data(data_dir, folder, split, questions)
        out_of_reach = [*labels.hidden(data_dir, split, questions), *hidden] if locked else None
        with Child(folder, out_of_reach, slot, python) as grading.child:
            grading.ask(package, folder / "data")
    return grading.result(path) | {
        "python": {"version": python.python, "packages": python.versions},
        "lock": grading.child.layers if grading.child else {},
    }


class _Grading:
    """The cases of one submission in the order in which they run, and what came of them."""

    def __init__(
        self, questions: list[labels.Question], split: str, time_limit: float, report: Report
    ) -> None:
        self._questions, self._split = questions, split
        self._limit, self._report = time_limit, report
        self._deadline = 0.0  # of the calls of the child, by `time.monotonic`
        self._cases = [
            Case("Submission opens (50 MB at most)"),
            Case("Model loads: load_vlm()"),
            Case("Parameters at most 300M"),
            Case(f"Accuracy on {len(questions)} questions", scoring.FULL_POINTS),
            Case("Extra credit (80% to 85%)", scoring.EXTRA_POINTS),
            Case("Course interface: VQADataset and benchmark"),
        ]
        self._samples: list[dict[str, Any]] = []
        self._kinds: dict[str, dict[str, int]] = {}
        self._share = 0.0  # of right answers
        self._course: dict[str, Any] | None = None  # the score that the course's check gives
        self.child: Child | None = None  # once it has been started

    def unpack(self, path: Path, folder: Path) -> str:
        """The first case; returns the name of the package."""
        case = self._cases[0]
        with self._running(case):
            unpacked = submission.unpack(path, folder)
            case.detail, case.remarks = unpacked.size, unpacked.remarks
        return unpacked.package

    def ask(self, package: str, data: Path) -> None:
        """The cases that need the submission's process."""
        assert self.child
        loads, fits, accuracy, extra, interface = self._cases[1:]
        self._say_layers(self.child.layers)
        start = time.monotonic()
        self._deadline = start + self._limit
        with self._running(loads):
            facts = self._call("load", "importing the package and load_vlm()", package=package)
            loads.remarks = course.of_model(facts)
            loads.detail = f"{time.monotonic() - start:.1f} s"
        with self._running(fits):
            number = self._call("parameters", "loading and counting the parameters")
            fits.detail = _check_parameters(number)
        with self._running(accuracy):
            self._samples = self.answer(data)
            self._score(accuracy, time.monotonic() - start, self.child.import_s)
        with self._running(extra):
            extra.points = scoring.extra_points(self._share)
            extra.remarks = course.of_score(self._course)
        self._report.say_answers(self._samples, self._kinds)
        self._deadline = time.monotonic() + self._limit
        with self._running(interface):
            # The course's own calls; the answers that these compare with are hidden.
            count = min(INTERFACE_QUESTIONS, len(self._questions))
            what = f"benchmark() on {count} questions"
            self._call("interface", what, split=self._split, count=count)
            interface.detail = f"{count} questions"

    def answer(self, data: Path) -> list[dict[str, Any]]:
        """Have every question answered; returns the samples with whether each is correct."""
        questions, answers = self._questions, []
        begun = time.monotonic()
        before = begun - (self._deadline - self._limit)
        for start in range(0, len(questions), course.BATCH):
            batch = questions[start : start + course.BATCH]
            answered = scoring.how_far(
                start, len(questions), len(batch), time.monotonic() - begun, before, self._limit
            )
            found = self._call(
                "answer",
                "loading and answering",
                f": {answered}",
                image_paths=[str(data / question.image) for question in batch],
                questions=[question.question for question in batch],
            )
            # The child has checked this too, but what comes from there is not to be relied on.
            if not (isinstance(found, list) and len(found) == len(batch)):
                raise SubmissionError(FORGED)
            if not all(isinstance(answer, str) and len(answer) <= MAX_ANSWER for answer in found):
                raise SubmissionError(FORGED)
            answers += found
        return [
            {
                "image_file": question.image,
                "question": question.question,
                "model_answer": answer,
                "correct_answer": question.answer,
                "is_correct": scoring.is_correct(answer, question.answer),
            }
            for question, answer in zip(questions, answers, strict=True)
        ]

    def _call(self, do: str, what: str, more: str = "", **arguments: Any) -> Any:
        """Have the child do one thing; `what` it is, and `more`, are said if the time ends."""
        assert self.child
        over = f"{what} took over {self._limit:g} s and was stopped{more}"
        return self.child.call(do, self._deadline, over, **arguments)

    def _score(self, case: Case, seconds: float, import_s: float) -> None:
        """Complete the case of the accuracy."""
        self._kinds = scoring.by_kind((s["question"], s["is_correct"]) for s in self._samples)
        correct = sum(sample["is_correct"] for sample in self._samples)
        self._share = correct / len(self._samples)
        course_s = seconds + import_s
        self._course = course.score(self._samples, course_s)
        case.points = scoring.points(self._share)
        case.detail = (
            f"{self._share:.1%} ({correct} right), {seconds:.1f} s of {self._limit:g} s"
            f" ({course_s:.1f} s with imports, as the course counts)"
        )
        case.remarks = course.of_time(course_s, self._limit)

    @contextlib.contextmanager
    def _running(self, case: Case) -> Iterator[None]:
        """Report a case when its block ends; a SubmissionError fails it and goes on outwards."""
        self._report.begin(case)
        details = ""
        try:
            yield
            case.status = "ok"
        except SubmissionError as error:
            case.status, case.detail, details = "failed", str(error), error.details
            versions = self.child.python.versions if self.child else None
            if known := reasons.advice(case.detail, details, versions):
                case.detail = f"{case.detail}; {known}"
            raise
        finally:
            # Not after Ctrl-C or a GraderError: then there is no verdict.
            if case.status != "not run":
                self._report.end(case, details)

    def _say_layers(self, layers: Mapping[str, list[str]]) -> None:
        """One line: the layers of the lock that are active, and why others are not."""
        if not layers:
            self._report.say(OPEN)
            return
        text = f"Locked by: {', '.join(layers['active'])}"
        if missing := layers["missing"]:
            text += f" (without {'; '.join(missing)})"
        self._report.say(one_line(text))

    def result(self, path: Path) -> dict[str, Any]:
        """The closing lines, and the result but for the Python and the lock's layers."""
        for case in self._cases:
            if case.status == "not run":
                self._report.begin(case)
                self._report.end(case)
        denied = [*self.child.denied] if self.child else []
        for number, denial in enumerate(denied):
            self._report.say(f"    denied: {denial}", level=number >= SHOWN_DENIALS)
        if denied:
            self._report.say(
                f"Denied: {len(denied)}; the points count the answers alone, "
                "but the online grader may refuse the whole submission"
            )
        printed = safe_lines(self.child.output()) if self.child else []
        self._report.say_block("printed by the submission", printed, level=2)
        total = sum(case.points for case in self._cases)
        full, most = scoring.FULL_POINTS, scoring.MAX_TOTAL
        self._report.say(f"Total: {total:.1f} / {full:g} ({most:g} at most)")
        return {
            "submission": str(path),
            "total": total,
            "max_total": most,
            "accuracy": self._share if self._samples else None,
            "cases": [asdict(case) for case in self._cases],
            "course": self._course,
            "kinds": self._kinds,
            "samples": self._samples,
            "denied": denied,
        }


def _check_parameters(number: object) -> str:
    """What the case of the parameters says about the number that the child returned."""
    if number is None:
        return "none found: neither the model nor its attributes have parameters()"
    # Anything may come from there: true, 1e999, a number of 4,000 digits.
    if not isinstance(number, int) or type(number) is bool or not 0 <= number < 10**15:
        raise SubmissionError("the number of parameters is not a number from 0 to 10^15")
    if number > PARAMETER_LIMIT:
        raise SubmissionError(
            f"{number} parameters; the course refuses over {PARAMETER_LIMIT}, so the total is 0"
        )
    return f"{number / 1e6:.1f}M"
