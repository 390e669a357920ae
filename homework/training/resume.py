"""What a training run is continued from: whole checkpoints of the same recipe.

The trainer writes a checkpoint's files one by one. `complete.json` comes last and states the
digest of each, so a folder that a kill cut short, or that changed since, is never read.

The checkpoints in a run's folder always belong to the recipe in `recipe.json` there. Those of
an unfinished run with another recipe wait in a folder of their own until that recipe is given
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import digest, read_json, write_json

COMPLETE = "complete.json"
RECIPE = "recipe.json"  # the options of an unfinished run
UNFINISHED = "checkpoint-unfinished-"  # begins the folder of a run with other options
KEPT = 2  # checkpoints; the second is there should the first turn out damaged
KEPT_RUNS = 4  # unfinished runs with other options, of which checkpoints are kept


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
    if _recipe(run_dir) != recipe:
        return None
    return next((path for path in reversed(checkpoints(run_dir)) if is_whole(path)), None)


def start(run_dir: Path, recipe: dict) -> Path | None:
    """Make `run_dir` ready for a run of this recipe; returns the checkpoint to continue from.

    Checkpoints of an unfinished run of another recipe are moved to a folder beside them, and
    come back when that recipe is given again.
    """
    for folder in checkpoints(run_dir):
        if not is_whole(folder):
            if (folder / COMPLETE).exists():
                print(f"removes {folder}: it is damaged")
            discard(folder)
    # In this order a kill leaves no checkpoint under the recipe of another run.
    other = _recipe(run_dir)
    if other != recipe and checkpoints(run_dir):
        _set_aside(run_dir, other)
    write_json(run_dir / RECIPE, recipe)
    kept = _kept_folder(run_dir, recipe)
    if kept.is_dir():
        _move(kept, run_dir)
        shutil.rmtree(kept)
    return last_checkpoint(run_dir, recipe)


def _set_aside(run_dir: Path, recipe: Any) -> None:
    """Move the checkpoints of another recipe to a folder of its own.

    Of more than `KEPT_RUNS` such folders the oldest are removed.
    """
    kept = _kept_folder(run_dir, recipe)
    write_json(kept / RECIPE, recipe)
    _move(run_dir, kept)
    print(
        f"the checkpoints of an unfinished run with other options are kept in {kept}"
        + (f"; to continue that run, give its options again ({kept / RECIPE})" if recipe else "")
    )
    runs = sorted(run_dir.glob(f"{UNFINISHED}*"), key=lambda path: path.stat().st_mtime)
    for folder in runs[:-KEPT_RUNS]:
        print(f"removes {folder}: checkpoints of {KEPT_RUNS} unfinished runs are kept")
        shutil.rmtree(folder)


def _move(source: Path, target: Path) -> None:
    for folder in checkpoints(source):
        discard(target / folder.name)
        os.replace(folder, target / folder.name)


def _kept_folder(run_dir: Path, recipe: Any) -> Path:
    """Where the checkpoints of an unfinished run of `recipe` wait for it to be given again."""
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    return run_dir / f"{UNFINISHED}{name}"


def _recipe(run_dir: Path) -> Any:
    """The recipe that the checkpoints in a folder belong to; None if it is not known."""
    try:
        return read_json(run_dir / RECIPE)
    except InputError:
        return None
