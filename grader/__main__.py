"""Grade a submission:

    python3 -m grader ID.zip

ID.zip is what bundle.py writes; a homework folder, or a folder that contains one, works too.
The package in it is loaded, `load_vlm()` is called, and the model answers 128 questions:
100 points at 70% accuracy, linearly below, and up to 5 extra points from 80% to 85%.

Importing the package, loading and answering may take 60 seconds together (--time_limit). The
course's own machine may be faster or slower than this one, so stay well below.

The submission uses the packages of this environment. The course's may have other versions:
--course makes an environment with those, once, and grades in it.

A whole class, and what platforms take:

    python3 -m grader class --help

The exit code tells whether grading worked, not how well the submission did: 0 whatever the
score, 1 if the grader cannot work (no data, no such file), 2 for a wrong command line.
The submission runs in a locked process: no network, no other processes, no file written, none
read but its own, the images and Python's. What it tried is listed; the points count its
answers alone. The first lines say which locks this system has; on macOS and Windows it is
Python's own alone, which stops mistakes but no attack: grade only what you would run yourself.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:  # started as `python path/to/grader`: again, as a package
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    runpy.run_module(here.name, run_name="__main__", alter_sys=True)
    sys.exit()

from . import course, gradescope, labels
from .cli import Parser, check_readable, chosen_python, home_path
from .errors import GraderError, printable
from .files import check_output, write_whole
from .grade import grade
from .report import Report


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python3 -m grader", __doc__)
    add = parser.add_argument
    add("submission", type=home_path, help="the zip, or a folder")
    add(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="the submission's traceback and the accuracy per kind of question; "
        "-vv also its prints and every wrong answer",
    )
    add("--log_path", type=home_path, help="write everything there, JSON last")
    forms = ["text", "gradescope"]
    add("--format", choices=forms, default="text", help="gradescope: --output, too")
    text = "where --format gradescope writes its results.json"
    add("--output", type=home_path, help=text)
    add("--disable_color", action="store_true", help="no colours")
    add("--open", action="store_true", help="no lock, for debugging")
    parser.add_grading_options()
    parser.add_python_options()
    options = parser.parse_args(arguments)
    if (options.format == "gradescope") != (options.output is not None):
        parser.error("--format gradescope and --output FILE belong together")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["class"]:
        from .classroom import command

        return _guarded(lambda: command.run(words[1:]), command.STOPPED)
    options = _parse(words)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not options.disable_color
    report = Report(options.verbose, color)
    return _guarded(lambda: _grade_one(options, report), "nothing was graded", report.abort)


def _grade_one(options: argparse.Namespace, report: Report) -> int:
    python = None if options.course else chosen_python(options)
    path = options.submission
    hint = " (make it with python3 bundle.py homework ID)" if path.suffix == ".zip" else ""
    check_readable(path, hint)
    forms = {options.log_path: Report.is_log, options.output: gradescope.is_results}
    outputs = [path for path in forms if path]
    for output in outputs:
        check_output(output, forms[output])
    if python is None:  # last, as the environment may have to be made
        labels.read(options.data_dir, options.split)
        python = chosen_python(options)
    if options.output and path.is_dir():
        path = gradescope.find(path)
    start = time.monotonic()
    result = grade(
        path,
        options.data_dir,
        options.split,
        options.time_limit,
        report,
        locked=not options.open,
        hidden=[output.parent for output in outputs],  # earlier ones hold correct answers
        python=python,
    )
    if options.course:
        report.say(course.verdict(result))
    if options.log_path:
        report.write_log(options.log_path, result)
    if options.output:
        found = gradescope.results(result, time.monotonic() - start)
        write_whole(options.output, json.dumps(found, indent=1) + "\n")
    return 0


def _guarded(
    do: Callable[[], int], after_stop: str, before_error: Callable[[], None] = lambda: None
) -> int:
    """Run `do` and return its exit code; an error or Ctrl-C prints one line and has its own code.

    The line of Ctrl-C ends with `after_stop`; `before_error` is called before a line is printed.
    """
    try:
        return _stoppable(do)
    except BrokenPipeError:
        # The reader (head, less) has gone; closing stdout again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except GraderError as error:
        message, code = f"error: {error}", 1
    except OSError as error:  # without a name it is of printing
        where = error.filename or "the grader's output"
        message = f"error: {where}: {error.strerror or error}; correct that and run again"
        code = 1
    except KeyboardInterrupt:
        message, code = f"stopped by Ctrl-C; {after_stop}", 130
    before_error()
    print(printable(message), file=sys.stderr)
    return code


def _stoppable(do: Callable[[], int]) -> int:
    """Run `do`; a signal that stops it always raises KeyboardInterrupt or SystemExit.

    If the signal comes while `threading` starts or joins a thread, Python can raise RuntimeError
    ("release unlocked lock") instead, with the stop as its context. The stop is raised then.
    """
    try:
        return do()
    except RuntimeError as error:
        if isinstance(stop := error.__context__, KeyboardInterrupt | SystemExit):
            raise stop from None
        raise


def _stop(number: int, _: object) -> None:
    sys.exit(128 + number)  # unwinds: the child is ended and the private folder removed


if __name__ == "__main__":
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)
    # Answers and messages may hold letters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
