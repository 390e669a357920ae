"""Check what a command was given before anything is loaded: Fire takes types from the value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .errors import InputError


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


def parts(value: str | Sequence[Any]) -> list[str]:
    """What stands between the commas; Fire makes a tuple of a,b."""
    return value.split(",") if isinstance(value, str) else [str(part) for part in value]


def names(flag: str, value: str | Sequence[Any] | None, known: Sequence[str]) -> list[str]:
    """The names a flag was given, sorted; all that are known if it was not.

    Raises:
        InputError: a name is not known, or there twice.
    """
    if value is None:
        return list(known)
    if isinstance(value, bool) or not isinstance(value, str | Sequence):
        raise InputError(f"{flag}: give names with commas between, not {value!r}")
    given = parts(value)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1, cutoff=0)
            raise InputError(f"{flag}: no {name!r}; the nearest is {near[0]}")
    if len(set(given)) != len(given):
        raise InputError(f"{flag}: a name is there twice")
    return sorted(given)
