"""The checkpoints that a training resumes from: one file each, whole and of the same recipe.

`checkpoint-<step>.safetensors` holds the trained weights and the optimizers' moments as tensors
and, as JSON in its header, the records so far and a SHA-256 of everything. It is written beside
and renamed; one that was damaged since is passed over for the one before.

The checkpoints in a run's folder always belong to the recipe in `recipe.json` there. Those of
an unfinished run with another recipe wait in a folder of their own until that recipe is given
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import InputError, one_line
from ..common.files import atomic_write, read_json, write_json

if TYPE_CHECKING:
    import torch

NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
RECIPE = "recipe.json"  # the options of an unfinished run
UNFINISHED = "checkpoint-unfinished-"  # begins the folder of a run with other options
KEPT = 2  # checkpoints; the second is there should the first turn out damaged
KEPT_RUNS = 4  # unfinished runs with other options, of which checkpoints are kept


class Checkpoint(NamedTuple):
    """The state of a training after `step` optimizer steps.

    Attributes:
        tensors: by name, contiguous and on the CPU.
        record: all else, as JSON has it.
    """

    step: int
    tensors: dict[str, torch.Tensor]
    record: dict[str, Any]

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
    return sorted(found, key=lambda file: int(NAME.fullmatch(file.name)[1]))


def last(run_dir: Path, recipe: dict) -> tuple[Path, Checkpoint] | None:
    """The newest whole checkpoint of an unfinished run of this recipe; None if there is none.

    Newer ones that are damaged are removed.
    """
    return newest(run_dir) if saved_recipe(run_dir) == recipe else None


def newest(run_dir: Path) -> tuple[Path, Checkpoint] | None:
    """The newest whole checkpoint in a folder, of whatever recipe; as `last`."""
    for file in reversed(checkpoints(run_dir)):
        checkpoint = read(file)
        if checkpoint:
            return file, checkpoint
        print(f"removes {file}: it is damaged")
        file.unlink()
    return None


@contextmanager
def refused(file: Path | None) -> Iterator[None]:
    """Turn what a checkpoint of another form raises into an InputError's one line."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        if file is None:
            raise
        raise InputError(f"{file}: does not fit ({one_line(error)}); delete it") from None


def require_same(run_dir: Path, recipe: dict) -> None:
    """Refuse a folder that holds checkpoints of another recipe.

    Raises:
        InputError: it does.
    """
    other = saved_recipe(run_dir)
    if other != recipe and checkpoints(run_dir):
        raise InputError(
            f"{run_dir}: holds checkpoints made with {other}; give the same options, another "
            "--work_dir, or delete it"
        )


def start(run_dir: Path, recipe: dict) -> None:
    """Make `run_dir` ready for a run of this recipe: only its own checkpoints lie there.

    Checkpoints of an unfinished run of another recipe are moved to a folder beside them, and
    come back when that recipe is given again.
    """
    # In this order a kill leaves no checkpoint under the recipe of another run.
    other = saved_recipe(run_dir)
    if other != recipe and checkpoints(run_dir):
        _set_aside(run_dir, other)
    write_json(run_dir / RECIPE, recipe)
    kept = _kept_folder(run_dir, recipe)
    if kept.is_dir():
        _move(kept, run_dir)
        shutil.rmtree(kept)


def finish(run_dir: Path) -> None:
    """The run's result is written: given again, it begins anew."""
    for file in checkpoints(run_dir):
        file.unlink()
    (run_dir / RECIPE).unlink(missing_ok=True)


def saved_recipe(run_dir: Path) -> Any:
    """The recipe that the checkpoints in a folder belong to; None if it is not known."""
    try:
        return read_json(run_dir / RECIPE)
    except InputError:
        return None


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
    runs = sorted(run_dir.glob(f"{UNFINISHED}*"), key=lambda folder: folder.stat().st_mtime)
    for folder in runs[:-KEPT_RUNS]:
        print(f"removes {folder}: checkpoints of {KEPT_RUNS} unfinished runs are kept")
        shutil.rmtree(folder)


def _move(source: Path, target: Path) -> None:
    for file in checkpoints(source):
        os.replace(file, target / file.name)


def _kept_folder(run_dir: Path, recipe: Any) -> Path:
    """Where the checkpoints of an unfinished run of `recipe` wait for it to be given again."""
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    return run_dir / f"{UNFINISHED}{name}"


def _digest(record: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the record and of each tensor's name, form and bytes."""
    import torch

    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
