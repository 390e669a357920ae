"""Run the Fire commands of a module; errors of the user end in one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NoReturn, get_args, get_origin

from . import machine
from .errors import InputError, printable
from .files import PACKAGE_DIR, disk_line
from .options import is_union

Command = Callable[..., None]
_HELP = ("-h", "--help")
_OMITTED = object()  # the value of an option that the command line does not give
_TYPES = {bool: "True|False", int: "INT", float: "FLOAT"}  # others are written as text
_LINES = {  # Fire's messages about a wrong command line -> ours
    "The function received no value for the required argument:": "give a value for",
    "Could not consume arg:": "one argument too many:",
}


def run(commands: Command | dict[str, Command]) -> None:
    """Hand `commands` to Fire: one function that returns None, or subcommand -> function.

    `-h` or `--help` anywhere prints help on stdout. Exit codes: 1 for an InputError, an error of
    the file system or a missing package, 2 for a wrong command line and 130 after Ctrl-C, each with
    one line on stderr and no traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # The encoding of a terminal may lack letters of a path; the streams of Jupyter do not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        for call in _parse(commands):
            call()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == PACKAGE_DIR.name:
            raise
        line = f"error: {sys.executable} has no {error.name}; {_environment()}"
        sys.exit(_fail(line, 1))
    except InputError as error:
        sys.exit(_fail(f"error: {error}", 1))
    except KeyboardInterrupt:
        if tqdm := sys.modules.get("tqdm"):
            # Of a bar that was stopped half made it complains, whatever the version.
            tqdm.tqdm.__del__ = lambda bar: None
        sys.exit(_fail("stopped by Ctrl-C; what was complete is kept", 130))
    except BrokenPipeError:
        # The reader (head, less) has ended; without this, closing stdout at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RuntimeError, MemoryError) as error:
        if not machine.is_out_of_memory(error):
            raise
        line = "error: not enough memory; end other programs, or take a smaller base or data set"
        sys.exit(_fail(line, 1))
    except OSError as error:
        sys.exit(_fail(f"error: {disk_line(error, in_writing=False)}", 1))


def _parse(commands: Command | dict[str, Command]) -> list[Callable]:
    """The calls that the command line asks for; none after `--help`, which is printed here.

    Fire itself would run a command before it complains of an unknown flag: a mistyped flag of
    `train` would cost hours. Raises SystemExit if the command line is wrong.
    """
    import fire
    from fire.core import FireExit

    # Without "--": Fire would take the words after it for flags of its own.
    words = [word for word in sys.argv[1:] if word not in (*_HELP, "--")]
    program = _program()
    if not isinstance(commands, dict):
        command = commands
    else:
        if not words:
            print(_overview(program, commands), end="")
            return []
        name = words.pop(0)
        if name not in commands:
            _refuse(_no("command", name, commands), program)
        program, command = f"{program} {name}", commands[name]
    if set(_HELP) & set(sys.argv):
        print(_help(program, command), end="")
        return []
    known = [*inspect.signature(command).parameters]
    accepted = {*known, *(f"no{name}" for name in known), *(name[0] for name in known)}
    for word in words:
        flag = re.match(r"--?([A-Za-z][^=]*)", word)
        if flag and flag[1].replace("-", "_") not in accepted:
            _refuse(_no("option", flag[0], [f"--{name}" for name in known]), program)
    calls: list[Callable[[], None]] = []
    signature = inspect.signature(command)

    @functools.wraps(command)
    def remember(*args: object, **kwargs: object) -> None:
        given = signature.bind(*args, **kwargs).arguments
        given = {name: value for name, value in given.items() if value is not _OMITTED}
        calls.append(functools.partial(command, **given))

    # Fire passes on the default of each option that is not given; the command must see which are.
    remember.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[
            each if each.default is each.empty else each.replace(default=_OMITTED)
            for each in signature.parameters.values()
        ]
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a usage text of several lines
            fire.Fire(remember, command=words)
    except FireExit as error:
        line = error.trace.elements[-1].ErrorAsStr()
        for fires, ours in _LINES.items():
            line = line.replace(fires, ours)
        _refuse(line, program)
    return calls


def _refuse(line: str, program: str) -> NoReturn:
    sys.exit(_fail(f"error: {line}; see {program} --help", 2))


def _no(kind: str, given: str, known: Iterable[str]) -> str:
    near = get_close_matches(given, known, 1, cutoff=0)
    return f"no {kind} {given!r}" + (f"; the nearest is {near[0]}" if near else "")


# --- help, from signatures and docstrings ---


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"


def _overview(program: str, commands: dict[str, Command]) -> str:
    """Help on a module: its commands, each with the first line of its docstring."""
    parser = _parser(f"{program} COMMAND [options]", sys.modules["__main__"].__doc__ or "")
    group = parser.add_argument_group("commands")
    for name, command in commands.items():
        group.add_argument(name, help=_escape((inspect.getdoc(command) or "").partition("\n")[0]))
    parser.epilog = f"{_escape(program)} COMMAND --help lists the options of a command."
    return parser.format_help()


def _help(program: str, command: Command) -> str:
    """Help on a command: what it does, and each option with its type, meaning and default."""
    docstring = inspect.getdoc(command) or ""
    described = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", docstring, re.MULTILINE)
    meaning = {name: " ".join(lines.split()) for name, lines in described}
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty]
    usage = " ".join([program, *map(str.upper, required), "[options]"])
    parser = _parser(usage, re.split(r"\n(?:Args|Raises):\n", docstring)[0])
    needed = parser.add_argument_group("required, by name or in this order")
    group = parser.add_argument_group("options")
    for each in parameters:
        line = meaning.get(each.name, "")
        if each.name not in required and each.default is not None:
            several = isinstance(each.default, tuple)
            line += f" Default: {','.join(each.default) if several else each.default}."
        place = needed if each.name in required else group
        place.add_argument(f"--{each.name}", metavar=_type(each.annotation), help=_escape(line))
    group.add_argument("-h", "--help", action="help", help="print this help")
    return parser.format_help()


def _parser(usage: str, text: str) -> argparse.ArgumentParser:
    """The parser that lays out the help; the command line itself is parsed by Fire."""
    return argparse.ArgumentParser(
        usage=_escape(usage),
        description=_escape(text.strip()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def _type(annotation: object) -> str:
    """An annotation as a person writes the value: `int | None` is INT."""
    first, *others = get_args(annotation) if is_union(annotation) else (annotation,)
    if get_origin(first) is Annotated:
        first = get_args(first)[0]
    several = ",..." if Sequence in map(get_origin, (first, *others)) else ""
    return _TYPES.get(first, "TEXT") + several


def _environment() -> str:
    """How to get an environment with every package, for an error message."""
    venv = PACKAGE_DIR.parent / ".venv"
    activate = venv / ("Scripts/activate" if os.name == "nt" else "bin/activate")
    if activate.exists() and Path(sys.prefix).resolve() != venv:
        return f"activate the environment first: source {activate}"
    return (
        "in a virtual environment: pip install -r requirements.txt (quickstart.py makes one, .venv)"
    )


def _fail(message: str, code: int) -> int:
    print(printable(message), file=sys.stderr)
    return code
