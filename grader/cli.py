"""What the grader's command lines share: options, and errors of one line."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from . import interpreter
from .errors import GraderError
from .grade import TIME_LIMIT_S
from .interpreter import Interpreter

DATA_DIR = Path(__file__).resolve().parent.parent / "data"


class Parser(argparse.ArgumentParser):
    """Ends with one line and exit code 2 on a wrong command line."""

    def __init__(self, prog: str, description: str | None) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, None, description, formatter_class=form, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def add_grading_options(self) -> None:
        """The options that decide which questions are asked, and how long answering may take."""
        text = "data folder (data beside the grader)"
        self.add_argument("--data_dir", type=home_path, default=DATA_DIR, help=text)
        self.add_argument(
            "--split",
            default="valid_grader",
            help="folder of the questions in the data folder (%(default)s); generate_qa balance "
            "--seed makes others",
        )
        self.add_argument(
            "--time_limit",
            type=above_zero,
            default=TIME_LIMIT_S,
            help="seconds for import, load_vlm() and all answers (%(default)g)",
        )

    def add_python_options(self) -> None:
        """The options that decide which Python, with which packages, runs submissions."""
        group = self.add_mutually_exclusive_group()
        group.add_argument(
            "--python",
            type=home_path,
            metavar="PATH",
            help="run submissions with the Python of another environment, which has the packages "
            "that they are made for: its executable or its folder",
        )
        group.add_argument(
            "--course",
            action="store_true",
            help=f"run submissions with the versions that the course pins, in {interpreter.COURSE}"
            ", which is made first if it is not there (it needs the network, and minutes)",
        )


def chosen_python(options: argparse.Namespace) -> Interpreter:
    """The Python that runs submissions; GraderError if it lacks packages or cannot be set up."""
    if options.course:
        return interpreter.other(interpreter.course(), "--course")
    if options.python:
        return interpreter.other(options.python)
    interpreter.check()
    return interpreter.own()


# Types of options: each raises an argparse.ArgumentTypeError for another text.


def home_path(text: str) -> Path:
    """A file or folder; a shell leaves the `~` in --data_dir=~/data as it is."""
    return Path(os.path.expanduser(text))


def above_zero(text: str) -> float:
    """A finite number above 0."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and value > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def count(text: str) -> int:
    """A number of submissions."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of submissions above 0")
    return int(text)


def local_time(text: str) -> datetime:
    """A date and time, returned without its time zone, as local time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date and time such as 2026-10-01T23:59"
        ) from None
    return found.astimezone().replace(tzinfo=None) if found.tzinfo else found


def check_readable(path: Path, hint: str = "") -> None:
    """Raise GraderError if an input cannot be read; `hint` ends the message if it is missing."""
    if not path.exists():
        raise GraderError(f"{path}: no such file or folder{hint}")
    if not os.access(path, os.R_OK):
        raise GraderError(f"{path}: cannot be read; check its permissions")
    if not path.is_dir() and not path.is_file():
        raise GraderError(f"{path}: is neither a file nor a folder")
