"""The weights of an adapter: read without running anything, and under the names of today."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError, one_line
from ..common.files import read_plain

if TYPE_CHECKING:
    import torch

MAX_WEIGHTS_BYTES = 500_000_000  # ten times the limit of a submission


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
