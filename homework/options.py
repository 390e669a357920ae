"""Check what a command was given before anything is loaded: Fire takes types from the value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .files import InputError


def path(flag: str, value: Any) -> Path | None:
    """The path a flag was given; None if it was not.

    Raises:
        InputError: the value is no path.
    """
    if value is None:
        return None
    # Fire turns a name of digits into a number, and a flag without a value into True.
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise InputError(f"{flag}: {value!r} is no path; give one")
    return Path(str(value)).expanduser()


def whole(flag: str, value: Any, least: int, most: int | None = None) -> int:
    """A flag's value, a whole number from `least` to `most`.

    Raises:
        InputError: it is not.
    """
    wrong = isinstance(value, bool) or not isinstance(value, int)
    if wrong or value < least or (most is not None and value > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{flag}: give a whole number {bounds}, not {value!r}")
    return value


def number(flag: str, value: Any, above: float, below: float = float("inf")) -> float:
    """A flag's value, a number between `above` and `below`, neither of them included.

    Raises:
        InputError: it is not.
    """
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not above < value < below:
        bounds = f"above {above:g}" if below == float("inf") else f"between {above:g} and {below:g}"
        raise InputError(f"{flag}: give a number {bounds}, not {value!r}")
    return value
