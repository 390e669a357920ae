"""The files of an adapter: their names, which are there, and its weights, read as data alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError, one_line
from ..common.files import PACKAGE_DIR, PARTIAL, read_plain

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CARD = "README.md"  # the model card
BASE = "base.json"  # our own record, written last: name and hash of the base, training options
WEIGHTS_SHA256 = "weights_sha256"  # in that record; earlier versions did not write it
STATE = "trainer_state.json"  # the log of its training, where `train` has written it
NEEDED = (CONFIG, WEIGHTS)  # what PEFT writes
FILES = (*NEEDED, BASE)  # what `train` writes
FRESH = f"adapter{PARTIAL}"  # the folder inside an adapter's in which its successor is written
PICKLE = "adapter_model.bin"
CONVERT = (
    "import torch, safetensors.torch as s; w = torch.load('adapter_model.bin', 'cpu', "
    "weights_only=True); s.save_file({n: v.clone() for n, v in w.items()}, "
    "'adapter_model.safetensors')"
)
MAX_WEIGHTS_BYTES = 500_000_000  # ten times the limit of a submission


def find(checkpoint: str | Path) -> Path:
    """The folder of a complete adapter: `checkpoint` itself, or of that name in the package.

    Raises:
        InputError: the adapter is missing or incomplete.
    """
    for folder in (Path(os.path.expanduser(str(checkpoint))), PACKAGE_DIR / checkpoint):
        if folder.is_dir():
            break
    else:
        raise InputError(f"{checkpoint}: no such checkpoint; run python -m homework.finetune train")
    if (folder / PICKLE).is_file() and not (folder / WEIGHTS).is_file():
        raise InputError(
            f"{folder / PICKLE}: a pickle, which may run code when it is read; convert it there: "
            f'python -c "{CONVERT}"'
        )
    if not is_whole(folder):
        missing = next((name for name in NEEDED if not (folder / name).is_file()), BASE)
        raise InputError(
            f"{folder}: not a whole checkpoint, it has no {missing}; "
            "run python -m homework.finetune train"
        )
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a folder holds one adapter, not files of two after a killed process.

    `train` and `restore` remove base.json, move the files of the new adapter from the folder
    `FRESH` one by one, the configuration before the weights, and the new base.json last. bundle.py
    checks the same.
    """
    left = {path.name for path in (folder / FRESH).glob("*")}
    moving = left and CONFIG not in left
    whole = all((folder / name).is_file() for name in NEEDED)
    return whole and ((folder / BASE).is_file() or not moving)


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The weights of an adapter by their names in the file.

    Raises:
        InputError: the file is damaged or too large, or has values that are not finite numbers.
    """
    import torch
    from safetensors.torch import load

    try:
        weights = load(read_plain(file, MAX_WEIGHTS_BYTES))
    except Exception as error:  # safetensors raises its own and built-in exceptions
        reason = one_line(error)
        raise InputError(
            f"{file.parent}: the adapter is damaged ({reason}); train it again"
        ) from None
    for name, value in weights.items():
        if not value.is_floating_point() or not torch.isfinite(value.float()).all():
            raise InputError(
                f"{file}: {name!r:.100} has values that are not finite; train the adapter again"
            )
    return weights


def renamed(weights: dict[str, Any], needed: Iterable[str]) -> dict[str, Any]:
    """Rename the weights of an older layout to the names that are needed."""
    names = {_plain_name(name): name for name in needed}
    renamed = {names.get(_plain_name(name), name): value for name, value in weights.items()}
    return renamed if len(renamed) == len(weights) else weights


def _plain_name(name: str) -> str:
    """A weight's name without what differs between versions of PEFT and transformers.

    That is the name of the adapter, the wrappers around the model and the name of its text model.
    """
    name = name.replace("language_model.", "text_model.").replace(".default", "")
    name = name.replace(".modules_to_save", "").replace(
        "magnitude_vector.weight", "magnitude_vector"
    )
    while (shorter := name.removeprefix("base_model.").removeprefix("model.")) != name:
        name = shorter
    return name.replace("text_model.model.", "text_model.")
