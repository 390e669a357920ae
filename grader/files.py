"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file beside `path` and rename it; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; what `path` was before stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that was killed; a link there is not followed
    file = open(partial, "x", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
