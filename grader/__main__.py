"""Grade a submission:

    python3 -m grader ID.zip

ID.zip is what bundle.py writes; a homework folder, or a folder that contains one, works too.
The package in it is loaded, `load_vlm()` is called, and the model answers 128 questions:
100 points at 70% accuracy, linearly below, and up to 5 extra points from 80% to 85%.

Importing the package, loading and answering may take 60 seconds together (--time_limit). The
course's own machine may be faster or slower than this one, so stay well below.

The exit code tells whether grading worked, not how well the submission did: 0 whatever the
score, 1 if the grader cannot work (no data, no such file), 2 for a wrong command line.
The submission runs in a locked process: no network, no other processes, no file written, none
read but its own, the pictures and Python's. What it tried is listed; the points count its
answers alone. The first lines say which locks this system has; on macOS and Windows it is
Python's own alone, which stops mistakes but no attack: grade only what you would run yourself.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python path/to/grader`: again, as a package
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    runpy.run_module(here.name, run_name="__main__", alter_sys=True)
    sys.exit()

from . import packages
from .errors import GraderError
from .grade import TIME_LIMIT_S, grade
from .report import Report

DATA_DIR = Path(__file__).resolve().parent.parent / "data"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"error: {message}; see python3 -m grader --help\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python3 -m grader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("submission", type=Path, help="the zip, or a folder")
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="the submission's traceback and the accuracy per kind of question; "
        "-vv also its prints and every wrong answer",
    )
    parser.add_argument("--log_path", type=Path, help="write everything there, JSON last")
    parser.add_argument("--disable_color", action="store_true", help="no colours")
    parser.add_argument(
        "--data_dir", type=Path, default=DATA_DIR, help="data folder (data beside the grader)"
    )
    parser.add_argument("--open", action="store_true", help="no lock, for debugging")
    parser.add_argument("--split", default="valid_grader", help="split (%(default)s)")
    parser.add_argument(
        "--time_limit",
        type=_seconds,
        default=TIME_LIMIT_S,
        help="seconds for import, load_vlm() and all answers (%(default)g)",
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and value > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _check_paths(options: argparse.Namespace) -> None:
    """Find out before the grading, not after it, that a path is wrong."""
    path = options.submission
    if not path.exists():
        made = " (make it with python3 bundle.py homework ID)" if path.suffix == ".zip" else ""
        raise GraderError(f"{path}: no such file or folder{made}")
    if not os.access(path, os.R_OK):
        raise GraderError(f"{path}: cannot be read; check its permissions")
    if not path.is_dir() and not path.is_file():
        raise GraderError(f"{path}: is neither a file nor a folder")
    log = options.log_path
    if log and (log.is_dir() or not log.absolute().parent.is_dir()):
        raise GraderError(f"{log}: cannot be written: give a file name in an existing folder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parse(arguments)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not options.disable_color
    report = Report(options.verbose, color)
    try:
        packages.check()
        _check_paths(options)
        result = grade(
            options.submission,
            options.data_dir,
            options.split,
            options.time_limit,
            report,
            locked=not options.open,
        )
        if options.log_path:
            report.write_log(options.log_path, result)
    except GraderError as error:
        report.abort()
        return _fail(f"error: {error}", 1)
    except BrokenPipeError:
        # The reader (head, less) has gone; closing stdout again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        report.abort()
        return _fail(f"error: {error}", 1)
    except KeyboardInterrupt:
        report.abort()
        return _fail("stopped by Ctrl-C; nothing was graded", 130)
    return 0


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _stop(number: int, _: object) -> None:
    sys.exit(128 + number)  # unwinds: the child is ended and the private folder removed


if __name__ == "__main__":
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)
    # Answers and messages may hold letters that the terminal's encoding lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    sys.exit(main())
