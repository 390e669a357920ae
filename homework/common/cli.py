"""Run a module's Fire subcommands; a user's mistake ends in one line and an exit code."""

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

    Exits with 1 after an InputError, an error of the file system or where a package is missing,
    with 2 for a wrong command line (Fire's own) and with 130 after Ctrl-C, each after one line on
    stderr and no traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal may lack the letters of a track or of a folder; Jupyter's streams lack none.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Fire would run the command first and complain of an unknown flag after it: a mistyped
    # flag of `train` would cost hours. So Fire only says what to call.
    calls: list[Callable[[], None]] = []

    def deferred(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def remember(*args: object, **kwargs: object) -> None:
            calls.append(functools.partial(command, *args, **kwargs))

        return remember

    # Help goes straight to stdout: Fire's pager would wait for a key on a terminal.
    os.environ.setdefault("PAGER", "cat")
    try:
        import fire

        if callable(commands):
            fire.Fire(deferred(commands))
        else:
            fire.Fire({name: deferred(command) for name, command in commands.items()})
        for call in calls:
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
        # The reader (head, less) has gone; closing stdout again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # Reading is dealt with where it is done, so this one is of writing.
        sys.exit(_fail(f"error: {disk_line(error)}", 1))


def _environment() -> str:
    """The command that gives an environment with every package."""
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
