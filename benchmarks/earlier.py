"""Results that an earlier run of a benchmark wrote, and with which options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from homework.common.errors import InputError
from homework.common.files import read_json


def earlier(file: Path, options: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run of the same options wrote to `file`; None if there is no such file.

    Raises:
        InputError: it was written with other options.
    """
    if not file.exists():
        return None
    before = read_json(file)
    if not isinstance(before, dict) or before.get("options") != options:
        raise InputError(f"{file}: made with other options; give another --output or delete it")
    return before
