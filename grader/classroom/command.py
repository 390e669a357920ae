"""Grade a class:

    python3 -m grader class SUBMISSIONS --output grades.csv

SUBMISSIONS is a folder or one zip of submissions: ID.zip; ID/homework.zip; or what Canvas
(STUDENT_12345_67890_ID.zip), Moodle or Gradescope exports. If a student has several, they are
listed and nothing is graded; with --latest the last one counts.

Each one runs in a locked process of its own, with one processor and a part of the memory. One that
reaches the limit of time or memory beside others is graded again alone.

Each result is written to disk as it comes (grades.results.jsonl). After a kill, --resume goes on
from there; it also grades only what is new when submissions were added.

Written at the end: grades.csv, the table; grades.json, with more of each grading; grades.html, a
page to look at. The exit code is 0 if all were graded, whatever the scores are.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import cli, gradescope, interpreter, labels, reasons
from ..errors import GraderError, one_line
from ..files import check_output, private_folder, write_whole
from ..usage import Slot, Stopped
from . import page, pool, table
from .canvas import Gradebook
from .names import Submission, hours_late
from .results import Journal, Rules, depends_on, digest, grade_one
from .room import Classroom, Found

STOPPED = "the results so far are kept: the same command with --resume goes on"
NEEDED = "jinja2", "tqdm", "yaml"  # packages of the grader's own Python
FILLED = ".canvas.csv"  # suffix of the gradebook's copy


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = cli.Parser("python3 -m grader class", __doc__)
    add, path = parser.add_argument, cli.home_path
    add("submissions", type=path, help="a folder or a zip of submissions")
    add("--output", type=path, required=True, help="the table to write, such as grades.csv")
    text = "submissions at a time (one for each processor; 1 with a GPU)"
    add("--jobs", type=cli.count, help=text)
    text = "GB for each submission (8, or less where the machine's memory is not enough)"
    add("--memory", type=cli.above_zero, help=text)
    forms = ["csv", "canvas"]
    add("--format", choices=forms, default="csv", help="canvas: fill --gradebook, too")
    add(
        "--gradebook",
        type=path,
        help="a gradebook exported from Canvas (CSV); the totals are filled into a copy beside the "
        "table, grades.canvas.csv, for upload",
    )
    text = "which column of the gradebook, by name or number (needed if it has several)"
    add("--assignment", help=text)
    add(
        "--names",
        choices=["auto", "canvas", "plain"],
        default="auto",
        help="whether names such as STUDENT_12345_67890_ID.zip are Canvas's (auto: if all zips "
        "have this form)",
    )
    text = "of several files of a student the last one counts"
    add("--latest", action="store_true", help=text)
    add("--resume", action="store_true", help="keep the results of earlier runs")
    text = "percent of the points that each day or part of a day after --due costs (none)"
    add("--late_penalty", type=cli.above_zero, default=0.0, help=text)
    add(
        "--due",
        type=cli.local_time,
        help="due date and time, such as 2026-10-01T23:59: the table then says how many hours "
        "after it each file is dated (local time)",
    )
    parser.add_grading_options()
    parser.add_python_options()
    options = parser.parse_args(arguments)
    if options.late_penalty and not options.due:
        parser.error("--late_penalty needs --due")
    if (options.format == "canvas") != (options.gradebook is not None):
        parser.error("--format canvas and --gradebook FILE belong together")
    return options


def run(arguments: Sequence[str]) -> int:
    """Grade a class; returns the exit code. GraderError if nothing, or not all, could be graded."""
    options = _parse(arguments)
    interpreter.check(NEEDED)
    python = None if options.course else cli.chosen_python(options)
    cli.check_readable(options.submissions)
    gradebook = Gradebook(options.gradebook, options.assignment) if options.gradebook else None
    _check_outputs(options.output, options.gradebook, gradebook)
    jobs, memory = pool.shares(options.jobs, options.memory)
    # The results are in one folder. A gradebook is the students' as much as their submissions.
    hidden = [options.submissions, options.output.parent, options.gradebook]
    if python is None:  # last, as the environment may have to be made
        labels.read(options.data_dir, options.split)
        python = cli.chosen_python(options)
    limits = options.time_limit, memory
    rules = Rules(options.data_dir, options.split, *limits, python, (*filter(None, hidden),))
    about = depends_on(rules)
    room = Classroom(options.submissions)
    found = room.find(options.names, gradebook.user if gradebook else lambda id: "")
    _check_students(found, options.latest)
    with Journal(options.output.with_suffix(".results.jsonl"), options.resume) as journal:
        graded = _Class(room, rules, journal, digest(about), found.counting)
        graded.grade(jobs)
        rows = graded.rows(options.due, options.late_penalty)
        others = {"superseded": [o.file for o in found.superseded], "ignored": found.ignored}
        notes = reasons.shared(rows, about["packages"])
        table.write(options.output, rows, {"notes": notes, "settings": about, **others})
        write_whole(options.output.with_suffix(".html"), page.render(rows, about, notes))
    for note in notes:
        print(f"note: {note}")
    _summarize(rows, found, options.output)
    if gradebook:
        _fill(gradebook, rows, options.output.with_suffix(FILLED))
    return 1 if graded.crashed else 0


def _check_outputs(output: Path, exported: Path | None, gradebook: Gradebook | None) -> None:
    """Raise GraderError if an output cannot be written, or would replace what is no result."""
    if output.suffix != ".csv":
        raise GraderError(f"{output}: give --output a name that ends in .csv")
    forms = {".csv": table.is_table, ".json": table.is_whole, ".html": page.is_page}
    if gradebook:
        forms[FILLED] = gradebook.is_filled
    for suffix, is_own in forms.items():
        path = output.with_suffix(suffix)
        if exported and path.exists() and path.samefile(exported):
            raise GraderError(f"{path}: is the gradebook that you gave; give another --output")
        check_output(path, is_own)


class _Class:
    """The gradings of a class."""

    def __init__(
        self,
        room: Classroom,
        rules: Rules,
        journal: Journal,
        settings: str,
        submissions: Sequence[Submission],
    ) -> None:
        self._room, self._rules, self._journal = room, rules, journal
        self._settings, self._submissions = settings, submissions
        # File -> why it has no result: it cannot be read, or a mistake in the grader itself.
        self.crashed: dict[str, str] = {}
        self._sha256: dict[str, str] = {}

    def grade(self, jobs: int) -> None:
        """Grade what the journal does not have."""
        limit, memory = self._rules.time_limit, self._rules.memory_bytes
        print(
            f"{len(self._submissions)} submissions, {jobs} at a time, each with 1 processor, "
            f"{memory / 1e9:.1f} GB and {limit:g} s",
            flush=True,
        )
        before = len(self._journal.results)
        again = self._grade(self._submissions, jobs)
        if again:
            print(f"{len(again)} reached a limit beside others: again, alone", flush=True)
            self._grade(again, 1)
        graded = len(self._journal.results) - before
        known = len(self._submissions) - graded - len(self.crashed)
        print(f"{graded} graded; {known} have the result of an equal file or an earlier run")

    def rows(self, due: datetime | None, late_penalty: float) -> list[dict[str, Any]]:
        """The table, a row for each student."""
        rows = []
        for one in self._submissions:
            sha = self._sha256.get(one.file, "")
            record = self._journal.results.get(self._key(sha))
            record = record or {"sha256": sha, "error": self.crashed[one.file]}
            rows.append(table.row(one, record, hours_late(one, due), late_penalty))
        return rows

    def _key(self, sha: str) -> str:
        return f"{sha}:{self._settings}"

    def _grade(self, submissions: Sequence[Submission], jobs: int) -> list[Submission]:
        """Grade submissions; returns those that others may have kept from succeeding."""
        from tqdm import tqdm

        again: list[Submission] = []
        seconds = 0.1 if sys.stdout.isatty() else 10.0

        def grade(submission: Submission, slot: Slot) -> None:
            with self._noting_errors(submission), private_folder() as folder:
                # What is graded is this copy: the file may change, or be out of reach, meanwhile.
                sha = self._room.copy(submission, copy := folder / "submission.zip")
                self._sha256[submission.file] = sha
                if self._key(sha) not in self._journal.results:
                    path = gradescope.find(copy) if copy.is_dir() else copy
                    record = {"sha256": sha, **grade_one(path, self._rules, slot)}
                    if jobs > 1 and reasons.may_be_caused_by_others(record["result"]):
                        again.append(submission)
                    else:
                        self._journal.add(self._key(sha), record)
            progress.update()

        with tqdm(
            total=len(submissions), unit="file", file=sys.stdout, mininterval=seconds
        ) as progress:
            pool.each(submissions, jobs, self._rules.memory_bytes, grade)
        return again

    @contextlib.contextmanager
    def _noting_errors(self, submission: Submission) -> Iterator[None]:
        """Note an error that is not the submission's fault, so that the class goes on."""
        try:
            yield
        except (GraderError, Stopped):
            raise
        except Exception as error:
            self.crashed[submission.file] = one_line(f"{type(error).__name__}: {error}", 200)


def _check_students(found: Found, latest: bool) -> None:
    """Say which files are of one student; GraderError if there are several without --latest."""
    several = found.several()
    _list("students with several files", several)
    if several and not latest:
        raise GraderError(
            "nothing was graded: the students listed above have several files each; give --latest "
            "if only the last one counts, --names plain or canvas if the names were misread, or "
            "take away the files that do not count"
        )


def _summarize(rows: Sequence[Mapping[str, Any]], found: Found, output: Path) -> None:
    """Print how the class did, what did not count, and where the files are."""
    totals = [row["total"] for row in rows if row["total"] is not None]
    if totals:
        print(f"mean total {sum(totals) / len(totals):.1f}, highest {max(totals):.1f}")
    for words, number in Counter(row["group"] for row in rows).most_common():
        print(f"{number:>6}  {words}")
    _list("superseded by a later file of the student", [one.file for one in found.superseded])
    _list("other files, ignored", found.ignored)
    print(f"wrote {output}, and beside it {output.stem}.json and {output.stem}.html")


def _fill(gradebook: Gradebook, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the gradebook for Canvas, and say which rows and submissions fit nothing."""
    filled = gradebook.fill(rows)
    write_whole(path, filled.content)
    print(f"wrote {path}: {filled.count} scores")
    _list("students without a submission, left as they are", filled.without_submission)
    _list("submissions that are not in the gradebook, or have no score", filled.without_row)
    if not re.fullmatch(r"(100([.,]0+)?)?", filled.points_possible):
        points = one_line(filled.points_possible, 40)
        print(f"note: the assignment has {points} points in Canvas, not 100")


def _list(title: str, names: Sequence[str]) -> None:
    if names:
        print(f"{title}: {len(names)}")
    for name in names:
        print(f"    {one_line(name)}")
