"""The state of a pre-training in one file: numbers, and what they belong to as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..common.errors import InputError, one_line
from ..common.files import atomic_write

MODEL, HEADS, OPTIMIZER = "model.", "heads.", "optimizer."  # begin the names of the tensors


def save(
    file: Path,
    model: nn.Module,
    heads: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    recipe: dict[str, Any],
    step: int,
) -> None:
    """Write all that a resume needs, whole or not at all."""
    from safetensors.torch import save as serialize

    tensors = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"{HEADS}{name}": value for name, value in heads.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{index}.{name}": m for name, m in moments.items()}
    # Copies, as the embeddings and the vocabulary projection are one tensor.
    plain = torch.contiguous_format
    tensors = {n: v.detach().cpu().clone(memory_format=plain) for n, v in tensors.items()}
    with atomic_write(file) as opened:
        opened.write(serialize(tensors, {"recipe": json.dumps(recipe), "step": str(step)}))


def load(
    file: Path,
    model: nn.Module,
    heads: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    recipe: dict[str, Any],
) -> int:
    """Put the state of a file into model, heads and optimizers; the steps that were taken.

    Without the file nothing changes and no step was taken.

    Raises:
        InputError: the state is of another recipe or damaged.
    """
    from safetensors import safe_open

    if not file.exists():
        return 0
    device = next(model.parameters()).device
    try:
        with safe_open(file, "pt", str(device)) as opened:
            described = opened.metadata()
            made_with, step = json.loads(described["recipe"]), int(described["step"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own, and whatever malformed metadata raises
        raise _unusable(file, f"damaged ({one_line(error)})") from None
    if made_with != recipe:
        raise _unusable(file, f"made with {made_with}")
    states = [optimizer.state_dict() for optimizer in optimizers]
    for name, value in _below(tensors, OPTIMIZER).items():
        number, index, key = name.split(".")
        states[int(number)]["state"].setdefault(int(index), {})[key] = value
    try:
        model.load_state_dict(_below(tensors, MODEL))
        heads.load_state_dict(_below(tensors, HEADS))
        for optimizer, moments in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(moments)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _unusable(file, f"does not fit ({one_line(error)})") from None
    return step


def _unusable(file: Path, reason: str) -> InputError:
    return InputError(f"{file}: {reason}; give the same options, another --work_dir, or delete it")


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose name begins with the prefix, named without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
