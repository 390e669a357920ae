"""Options that only the lab's commands have."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from homework.common.errors import InputError
from homework.common.options import parts


def names(flag: str, value: str | Sequence[Any] | None, known: Sequence[str]) -> list[str]:
    """The names given for a flag, sorted; all known names if the flag was not given."""
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
