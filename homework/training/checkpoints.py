"""The folder of a run: one training at a time in it, and the checkpoints that it resumes from.

`checkpoint-<step>.safetensors` holds the trained weights and the optimizers' moments as tensors
and, as JSON in its header, the records so far and a SHA-256 of everything. It is written beside and
renamed. A damaged checkpoint is skipped for the one before it.

The checkpoints in a run's folder always belong to the recipe in `recipe.json` there. A run with
another recipe is refused in that folder unless the user gives --overwrite.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..common.distributed import is_main
from ..common.errors import InputError
from ..common.files import atomic_write, read_json, write_json, writing

if TYPE_CHECKING:
    import torch

NAME = re.compile(r"checkpoint-\d+\.safetensors")
RECIPE = "recipe.json"  # the options of an unfinished run
LOCK = ".lock"  # an empty file that a training locks; the file stays, the lock does not
MOST_BETWEEN = 200  # optimizer steps between two checkpoints, if no option says
LEAST_CHECKPOINTS = 5  # in a run, at least, however short it is
KEPT = 2  # checkpoints; the second is there should the first turn out damaged


class Checkpoint(NamedTuple):
    """The state of a training after `step` optimizer steps."""

    step: int
    tensors: dict[str, torch.Tensor]  # by name, contiguous and on the CPU
    record: dict[str, Any]  # all else, as JSON has it

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with `name` and a dot, by the rest of their names."""
        start = f"{name}."
        return {
            key.removeprefix(start): tensor
            for key, tensor in self.tensors.items()
            if key.startswith(start)
        }


def path(run_dir: Path, step: int) -> Path:
    """The file of a checkpoint."""
    return run_dir / f"checkpoint-{step}.safetensors"


def write(run_dir: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; older ones go once it is whole."""
    from safetensors.torch import save

    record = json.dumps({"step": checkpoint.step, **checkpoint.record})
    described = {"record": record, "sha256": _digest(record, checkpoint.tensors)}
    with atomic_write(path(run_dir, checkpoint.step)) as file:
        file.write(save(checkpoint.tensors, described))
    for older in checkpoints(run_dir)[:-KEPT]:
        older.unlink()


def read(file: Path) -> Checkpoint | None:
    """A checkpoint; None if it is damaged."""
    from safetensors import safe_open

    try:
        with safe_open(file, "pt") as opened:
            described = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        record = described["record"]
        if _digest(record, tensors) != described["sha256"]:
            return None
        parsed = json.loads(record)
        return Checkpoint(parsed.pop("step"), tensors, parsed)
    except Exception:  # the library's own, and whatever malformed metadata raises
        return None


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints of a run, the oldest first."""
    found = [file for file in run_dir.glob("checkpoint-*") if NAME.fullmatch(file.name)]
    return sorted(found, key=_step)


def _step(file: Path) -> int:
    return int(file.stem.removeprefix("checkpoint-"))


def newest(run_dir: Path) -> tuple[Path, Checkpoint] | None:
    """The newest whole checkpoint in a folder, if any; damaged newer ones are removed."""
    for file in reversed(checkpoints(run_dir)):
        checkpoint = read(file)
        if checkpoint:
            return file, checkpoint
        print(f"removes {file}: it is damaged")
        file.unlink()
    return None


def copy(tensors: Mapping[str, torch.Tensor], to: Mapping[str, torch.Tensor]) -> None:
    """Copy the values of tensors into others; ValueError if names or shapes differ."""
    import torch

    shapes = [{name: tensor.shape for name, tensor in named.items()} for named in (tensors, to)]
    if shapes[0] != shapes[1]:
        raise ValueError("other weights than this training's")
    with torch.no_grad():
        for name, tensor in to.items():
            tensor.copy_(tensors[name])


def require_same(run_dir: Path, recipe: dict) -> None:
    """Raise InputError, naming the options that differ, for checkpoints of another recipe."""
    other = saved_recipe(run_dir)
    if other != recipe and checkpoints(run_dir):
        raise InputError(
            f"{run_dir}: holds checkpoints of another run: {_differences(other, recipe)}; to "
            "continue that run, give it the same again; to begin anew, delete "
            f"{run_dir / 'checkpoint-*'}"
        )


def steps_done(run_dir: Path, recipe: dict) -> int:
    """Steps that the newest checkpoint of a run of this recipe has behind it; 0 without one."""
    found = checkpoints(run_dir) if saved_recipe(run_dir) == recipe else []
    return _step(found[-1]) if found else 0


def start(run_dir: Path, recipe: dict, overwrite: bool = False) -> None:
    """Prepare `run_dir` for a run with this recipe, so that it holds no checkpoints of others.

    Raises InputError if it holds some, unless `overwrite` allows to remove them.
    """
    if not overwrite:
        require_same(run_dir, recipe)
    # In this order a kill leaves no checkpoint under the recipe of another run.
    if saved_recipe(run_dir) != recipe:
        _remove_all(run_dir)
    write_json(run_dir / RECIPE, recipe)


def finish(run_dir: Path) -> None:
    """End a run whose result is written: the same command then begins a new run."""
    _remove_all(run_dir)
    (run_dir / RECIPE).unlink(missing_ok=True)


def saved_recipe(run_dir: Path) -> Any:
    """The recipe that the checkpoints in a folder belong to; None if it is not known."""
    try:
        return read_json(run_dir / RECIPE)
    except InputError:
        return None


def _remove_all(run_dir: Path) -> None:
    for file in checkpoints(run_dir):
        file.unlink()


def _differences(saved: Any, recipe: dict) -> str:
    """The options of another run that differ from this one's, each with both values."""
    if not isinstance(saved, dict):
        return "its options are not known"
    names = [n for n in sorted({*saved, *recipe}) if saved.get(n) != recipe.get(n)]
    return ", ".join(f"{n} {_short(saved.get(n))} (now {_short(recipe.get(n))})" for n in names)


def _short(value: Any) -> str:
    is_digest = isinstance(value, str) and len(value) == 64
    return f"{value[:12]}..." if is_digest else f"{value!r:.80}"


def _digest(record: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the record and of each tensor's name, form and bytes."""
    import torch

    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def steps_between(steps: int, most: int = MOST_BETWEEN, least: int = LEAST_CHECKPOINTS) -> int:
    """Steps between two checkpoints: `most`, or fewer so that there are at least `least`."""
    return max(1, min(most, steps // least))


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Make `run_dir` and lock it: no other training writes there while the block runs.

    With several processes the main one holds the lock for all. The system frees it when that
    process ends, however it ends. Raises InputError if another training runs there, or the folder
    cannot be written to.
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

            # Not flock: processes that decode images would inherit that and outlive a kill.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # some network file systems have no locks
        print(f"{file.name}: no lock ({error.strerror}); start no second training in this folder")
    return True
