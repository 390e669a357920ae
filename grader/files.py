"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside `path` and rename it; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; what `path` was before stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that was killed; a link there is not followed
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    file = open(partial, "xb")  # noqa: SIM115
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
