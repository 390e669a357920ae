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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from . import processes
from .files import InputError, read_json, write_json, writing

COMPLETE = "complete.json"
RECIPE = "recipe.json"  # the options of an unfinished run
LOCK = ".lock"  # an empty file that a training locks; the file stays, the lock does not
UNFINISHED = "checkpoint-unfinished-"  # begins the folder of a run with other options
NAMED = 4  # of a batch's pictures, how many an error names
KEPT = 2  # checkpoints; the second is there should the first turn out damaged
KEPT_RUNS = 4  # unfinished runs with other options, of which checkpoints are kept
MOST_BETWEEN = 200  # optimizer steps between two checkpoints, if no option says
LEAST_CHECKPOINTS = 5  # in a run, however short


def steps_between(steps: int, most: int = MOST_BETWEEN) -> int:
    """Optimizer steps between two checkpoints of a run of so many steps, at least 1."""
    return max(1, min(most, steps // LEAST_CHECKPOINTS))


@contextmanager
def alone(run_dir: Path) -> Iterator[None]:
    """Make `run_dir`, and let no other training write there while the block runs.

    Of several processes of one command the main one takes the lock for all. The system frees it
    when that process ends, however it ends.

    Raises:
        InputError: another training runs there, or the folder cannot be written to.
    """
    if not processes.is_main():
        yield
        return
    with writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        file = open(run_dir / LOCK, "ab")  # noqa: SIM115 (closed below; it must outlive `writing`)
    with file:
        if not _take(file):
            raise InputError(
                f"{run_dir}: another training is writing to this folder; "
                "wait until it ends, or give another folder"
            )
        yield


def _take(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False if another process holds the lock."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Not flock: processes that decode pictures would inherit that and outlive a kill.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # some network file systems have no locks
        print(f"{file.name}: no lock ({error.strerror}); start no second training in this folder")
    return True


def seal(folder: Path) -> None:
    """Say that a checkpoint folder is whole; nothing in it may change from now on."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != COMPLETE)
    digests = {path.name: _digest(path) for path in files}
    write_json(folder / COMPLETE, digests)


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint folder was sealed and holds the same files still."""
    try:
        digests = read_json(folder / COMPLETE)
        return bool(digests) and all(
            _digest(folder / name) == digest for name, digest in digests.items()
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
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return run_dir / f"{UNFINISHED}{digest[:8]}"


def _recipe(run_dir: Path) -> Any:
    """The recipe that the checkpoints in a folder belong to; None if it is not known."""
    try:
        return read_json(run_dir / RECIPE)
    except InputError:
        return None


def not_finite(what: str, step: int, pictures: list[str]) -> InputError:
    """The error that stops a run before the weights are spoilt."""
    named = ", ".join(pictures[:NAMED]) + (", ..." if len(pictures) > NAMED else "")
    return InputError(
        f"step {step}: the {what} of this batch is not finite: {named}; lower --learning_rate or "
        "remove what is wrong with these (the last checkpoint is kept)"
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
