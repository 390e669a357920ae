"""Which of a training run's checkpoints can be gone on from: whole ones of the same recipe.

The trainer writes a checkpoint's files one by one. `complete.json` comes last and states the
digest of each, so a folder that a kill cut short, or that changed since, is never read.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..common.errors import InputError
from ..common.files import digest, read_json, write_json

COMPLETE = "complete.json"
KEPT = 2  # checkpoints; the second is there should the first turn out damaged


def seal(folder: Path) -> None:
    """Say that a checkpoint folder is whole; nothing in it may change from now on."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != COMPLETE)
    digests = {path.name: digest(path) for path in files}
    write_json(folder / COMPLETE, digests)


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint folder was sealed and holds the same files still."""
    try:
        digests = read_json(folder / COMPLETE)
        return bool(digests) and all(
            digest(folder / name) == known for name, known in digests.items()
        )
    except (InputError, OSError, AttributeError, TypeError, ValueError):
        return False


def discard(folder: Path) -> None:
    """Remove a checkpoint folder; at no moment is what is left of it taken for whole."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def rotate(run_dir: Path) -> None:
    """Keep the newest checkpoints; call it once the newest is sealed."""
    for folder in checkpoints(run_dir)[:-KEPT]:
        discard(folder)


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, whole or not, the oldest first."""
    found = [path for path in run_dir.glob("checkpoint-*") if path.name[11:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def last_checkpoint(run_dir: Path, recipe: dict) -> Path | None:
    """The newest whole checkpoint of an unfinished run of the same recipe."""
    try:
        if read_json(run_dir / "recipe.json") != recipe:
            return None
    except InputError:
        return None
    return next((path for path in reversed(checkpoints(run_dir)) if is_whole(path)), None)


def start(run_dir: Path, recipe: dict) -> Path | None:
    """Make `run_dir` ready for a run of this recipe; returns the checkpoint to go on from.

    Checkpoints of another recipe are removed before the new one is written down: left there,
    they would pass for its own after the next kill.
    """
    resume = last_checkpoint(run_dir, recipe)
    for folder in checkpoints(run_dir):
        if resume is None and (folder / COMPLETE).exists():
            print(f"removes {folder}: of a run with other settings, or damaged")
        if resume is None or (folder != resume and not is_whole(folder)):
            discard(folder)
    write_json(run_dir / "recipe.json", recipe)
    return resume
