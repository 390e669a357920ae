"""What is printed while grading, and the log that keeps all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .errors import one_line, safe_lines
from .files import has_fields, write_whole

_GREEN, _RED, _END = "\x1b[32m", "\x1b[31m", "\x1b[0m"


@dataclass
class Case:
    """One line of the result; `max_points` of 0 marks a check without points of its own."""

    name: str
    max_points: float = 0.0
    points: float = 0.0
    status: str = "not run"  # or "ok", "failed"
    detail: str = ""
    remarks: list[str] = field(default_factory=list)  # lines below it: see `grader.course`

    def verdict(self) -> str:
        """The middle column: the points, or ok / failed / not run."""
        if self.max_points:
            return f"{self.points:.1f} / {self.max_points:g}"
        return self.status


class Report:
    """Prints lines up to a verbosity and keeps the lines of every verbosity for the log.

    Args:
        verbosity: 0, 1 (-v) or 2 (-vv).
        color: whether verdicts are coloured on the screen; the log never is.
        out: where to print; standard output by default.
    """

    def __init__(self, verbosity: int = 0, color: bool = False, out: IO[str] | None = None) -> None:
        self._verbosity, self._color, self._out = verbosity, color, out
        self._lines: list[str] = []
        self._in_line = False

    def say(self, text: str, level: int = 0) -> None:
        """Add one line, shown from verbosity `level` on."""
        self._lines.append(text)
        if level <= self._verbosity:
            self._print(text)

    def say_block(self, title: str, lines: Sequence[str], level: int) -> None:
        """Add indented lines under a title; nothing if there are none."""
        for line in [f"{title}:", *(f"| {line}" for line in lines)] if lines else ():
            self.say(f"    {line}", level)

    def begin(self, case: Case) -> None:
        """Show a case's name while it runs."""
        self._in_line = True
        self._print(self._name(case), end="")

    def end(self, case: Case, details: str = "") -> None:
        """Complete the line of a case; `details` (a traceback) follow with -v."""
        verdict, text = f"{case.verdict():<12}", case.detail
        if case.status != "ok" and case.max_points:  # the verdict says the points alone
            text = f"{case.status}: {text}" if text else case.status
        self._in_line = False
        self._lines.append(f"{self._name(case)}{verdict}{text}".rstrip())
        if self._color and case.status != "not run":
            verdict = f"{_GREEN if case.status == 'ok' else _RED}{verdict}{_END}"
        self._print(f"{verdict}{text}".rstrip())
        for remark in case.remarks:
            self.say(f"    {one_line(remark)}")
        self.say_block("from the submission", safe_lines(details), level=1)

    def say_answers(
        self, samples: Sequence[Mapping[str, Any]], kinds: Mapping[str, Mapping[str, int]]
    ) -> None:
        """Show the table per kind, of right answers and questions (-v), and wrong answers (-vv)."""
        rows = [f"{'kind':<18}{'right':>6}{'asked':>7}{'accuracy':>10}"]
        for kind, row in kinds.items():
            right, asked = row["right"], row["asked"]
            rows.append(f"{kind:<18}{right:>6}{asked:>7}{right / asked:>10.1%}")
        self.say_block("accuracy per kind", rows, level=1)
        form = "{image_file} {question} {model_answer!r}, expected {correct_answer!r}"
        wrong = [one_line(form.format(**one)) for one in samples if not one["is_correct"]]
        self.say_block("wrong answers", wrong, level=2)

    def abort(self) -> None:
        """End the line of a case that will have no verdict."""
        if self._in_line:
            self._print("")
        self._in_line = False

    def write_log(self, path: Path, result: dict[str, Any]) -> None:
        """Write every line and, as the last one, the result as JSON; whole or not at all."""
        write_whole(path, "\n".join([*self._lines, json.dumps(result)]) + "\n")

    @staticmethod
    def is_log(content: bytes) -> bool:
        """Whether a file's content is a log that `write_log` wrote."""
        return has_fields(content.splitlines()[-1], "cases", "total")

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._out, flush=True)

    @staticmethod
    def _name(case: Case) -> str:
        return f"{case.name + ' ':.<46} "
