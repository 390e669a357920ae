"""The packages that grading needs, by the names they are imported by.

Those of requirements.txt without orjson, which is optional: the course's environment has none.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from .errors import GraderError

REQUIRED = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "peft", "accelerate",
    "PIL", "numpy", "yaml", "regex", "psutil", "fire", "tqdm", "matplotlib", "tensorboard",
)  # fmt: skip
# Imported before the process is locked. What these do at import is theirs and not the
# submission's: torch's CUDA build starts ldconfig and gcc to find a library, for example.
BEFORE_THE_LOCK = ("numpy", "PIL", "torch", "safetensors.torch", "tokenizers", "transformers",
                   "accelerate", "peft")  # fmt: skip
# What another environment (--python) must have: requirements.txt is this project's own.
FOR_SUBMISSIONS = tuple(name.partition(".")[0] for name in BEFORE_THE_LOCK)
COURSE_PINS = Path(__file__).with_name("course_requirements.txt")


def check() -> None:
    """Find out before the grading, not from the submission, what this environment lacks.

    GraderError if a package is missing; the message names the environment and the remedy.
    """
    missing = [name for name in REQUIRED if find_spec(name) is None]
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
