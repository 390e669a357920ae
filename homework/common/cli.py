"""Run the Fire commands of a module; errors of the user end in one line and an exit code."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import InputError
from .files import PACKAGE_DIR, disk_line


def run(commands: Callable[..., None] | dict[str, Callable[..., None]]) -> None:
    """Hand `commands` to Fire: one function that returns None, or subcommand -> function.

    Exit codes: 1 for an InputError, an error of the file system or a missing package, 2 for a
    wrong command line (from Fire) and 130 after Ctrl-C, each with one line on stderr and no
    traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # The encoding of a terminal may lack letters of a path; the streams of Jupyter do not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Help goes straight to stdout: the pager of Fire would wait for a key on a terminal.
    os.environ.setdefault("PAGER", "cat")
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
        sys.exit(_fail("stopped by Ctrl-C; what was complete is kept", 130))
    except BrokenPipeError:
        # The reader (head, less) has ended; without this, closing stdout at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # Errors of reading are caught where they occur, so this is an error of writing.
        sys.exit(_fail(f"error: {disk_line(error)}", 1))


def _parse(commands: Callable[..., None] | dict[str, Callable[..., None]]) -> list[Callable]:
    """The calls that the command line asks for.

    Fire itself would run a command before it complains of an unknown flag: a mistyped flag of
    `train` would cost hours.
    """
    import fire

    calls: list[Callable[[], None]] = []

    def deferred(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def remember(*args: object, **kwargs: object) -> None:
            calls.append(functools.partial(command, *args, **kwargs))

        return remember

    if callable(commands):
        fire.Fire(deferred(commands))
    else:
        fire.Fire({name: deferred(command) for name, command in commands.items()})
    return calls


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
    print(message, file=sys.stderr)
    return code
