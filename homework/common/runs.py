"""The folder of a training run: one training at a time in it, and checkpoints often enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .distributed import is_main
from .errors import InputError
from .files import writing

LOCK = ".lock"  # an empty file that a training locks; the file stays, the lock does not
MOST_BETWEEN = 200  # optimizer steps between two checkpoints, if no option says
LEAST_CHECKPOINTS = 5  # in a run, at least, however short it is


def steps_between(steps: int, most: int = MOST_BETWEEN, least: int = LEAST_CHECKPOINTS) -> int:
    """Optimizer steps between two checkpoints of a run of so many steps, at least 1.

    Args:
        most: steps between two checkpoints, at most.
        least: checkpoints in the run, at least, if it has that many steps.
    """
    return max(1, min(most, steps // least))


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Make `run_dir` and lock it: no other training writes there while the block runs.

    With several processes the main one holds the lock for all. The system frees it
    when that process ends, however it ends.

    Raises:
        InputError: another training runs there, or the folder cannot be written to.
    """
    if not is_main():
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
