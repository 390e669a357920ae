"""The Python that runs a submission, this one or another environment's, and its"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from . import probe
from .errors import GraderError, one_line

# The packages that grading needs, by the names they are imported by: those of requirements.txt
# without orjson, which is optional: the course's environment has none.
REQUIRED = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "peft", "accelerate",
    "PIL", "numpy", "yaml", "psutil", "fire", "tqdm", "matplotlib", "tensorboard",
)  # fmt: skip
# Imported before the process is locked. What these do at import is theirs and not the
# submission's: torch's CUDA build starts ldconfig and gcc to find a library, for example.
BEFORE_THE_LOCK = ("numpy", "PIL", "torch", "safetensors.torch", "tokenizers", "transformers",
                   "accelerate", "peft")  # fmt: skip
# What another environment (--python) must have: requirements.txt is this project's own.
FOR_SUBMISSIONS = tuple(name.partition(".")[0] for name in BEFORE_THE_LOCK)
COURSE_PINS = Path(__file__).with_name("course_requirements.txt")
PROBE = Path(__file__).with_name("probe.py")
PROBE_LIMIT_S = 120.0  # from a cold disk
OLDEST, NEWEST = (3, 10), (3, 13)  # that the lock is tried with
# Variables that lead one Python to its packages, and another one astray.
_ITS_OWN = re.compile(
    "VIRTUAL_ENV.*|CONDA_.*|PYTHON(HOME|PATH|USERBASE|STARTUP|EXECUTABLE|PLATLIBDIR|SAFEPATH)"
    "|__PYVENV_LAUNCHER__"
)
_NAMED = ("transformers", "torch", "peft", "torchvision")


class Interpreter(NamedTuple):
    """A Python interpreter."""

    executable: str
    python: str  # its version, such as "3.12.1"
    places: list[str]  # files and folders of it and its packages, which submissions may read
    user_base: str | None  # where a user's own packages lie; None if it does not use them
    versions: dict[str, str | None]  # of some packages; None for one that is not installed
    is_own: bool  # whether it is the one that runs the grader

    def __str__(self) -> str:
        """Its path and versions, for a line of the report."""
        found = [f"{name} {version}" for name in _NAMED if (version := self.versions[name])]
        return f"{self.executable} ({', '.join([f'Python {self.python}', *found])})"

    def variables(self) -> dict[str, str]:
        """This process's environment variables, as far as they are for this interpreter."""
        return dict(os.environ) if self.is_own else _for_another()


def _for_another() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _ITS_OWN.fullmatch(name)}


def own() -> Interpreter:
    """The one that runs the grader."""
    found = probe.about([])
    del found["missing"]
    return Interpreter(sys.executable, **found, is_own=True)


def other(path: Path, option: str = "--python") -> Interpreter:
    """That of another environment.

    Args:
        path: the executable, or the folder of a virtual environment.
        option: of the command line that named it, for messages.

    Raises:
        GraderError: it does not run, has a version that the grader is not for, or lacks a package.
    """
    says = f"{option} {path}:"
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    program = shutil.which(path / inside if path.is_dir() else path)  # also by its name alone
    if program is None:
        raise GraderError(f"{says} no such program")
    # Not resolved: an environment's is a link, and its place tells which environment it is.
    program = os.path.abspath(program)
    try:
        done = subprocess.run(
            [program, str(PROBE), *FOR_SUBMISSIONS],
            env=_for_another(),
            capture_output=True,
            encoding="utf-8",
            timeout=PROBE_LIMIT_S,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GraderError(f"{says} does not run: {error}") from None
    except ValueError:
        last = one_line((done.stderr.strip().splitlines() or ["it printed nothing"])[-1], 200)
        raise GraderError(f"{says} is no Python of today ({last})") from None
    version = tuple(int(number) for number in found["python"].split(".")[:2])
    if not OLDEST <= version <= NEWEST:
        oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
        raise GraderError(f"{says} is Python {found['python']}; give one of {oldest} to {newest}")
    if missing := found.pop("missing"):
        raise GraderError(
            f"{says} has no {', '.join(missing)}, which submissions need: "
            f"{program} -m pip install -r {COURSE_PINS}"
        )
    return Interpreter(program, **found, is_own=False)


def check(names: Sequence[str] = REQUIRED) -> None:
    """Find out before the grading, not from the submission, what this environment lacks.

    GraderError if a package is missing; the message names the environment and the remedy.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise GraderError(f"{sys.executable} has no {', '.join(missing)}; {remedy()}")


def remedy() -> str:
    """The command that gives an environment with every package."""
    root = Path(__file__).resolve().parent.parent
    venv = root / ".venv"
    activate = venv / ("Scripts/activate" if sys.platform == "win32" else "bin/activate")
    if activate.exists() and Path(sys.prefix).resolve() != venv:
        return f"activate the environment first: source {activate}"
    return (
        f"in a virtual environment: pip install -r {root / 'requirements.txt'} "
        f"(python3 {root / 'quickstart.py'} makes one, .venv)"
    )
