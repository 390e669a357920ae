"""The model as pre-training begins: fresh weights, a base's, or those of an earlier run.

The stem's batch normalisation is merged into the convolutions at the end, so that the result for an
image does not depend on the batch. A base has therefore none, and no heads: training from it uses
new heads and no normalisation. The checkpoint of an earlier run has both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from homework.common.errors import InputError
from homework.model.inputs import InputBuilder
from homework.model.loading import load_inputs, load_model
from homework.model.stem import Block, Stem, Unit
from homework.training.checkpoints import Checkpoint
from homework.training.loop import copy

from . import architecture

COMPILED_FORMS = 64  # at most: three stages and one form of layer, for a few forms of the stem


def first_model(
    start: Path | Checkpoint | None, seed: int, inputs: InputBuilder, stem: Mapping[str, Any]
):
    """The embedded base with fresh weights, or with those of the base in the folder `start`.

    Args:
        stem: what is other than in `architecture.STEM`.

    Raises:
        InputError: `start` is a base of another form.
    """
    model = architecture.build_model(seed, architecture.base_config(stem) if stem else None)
    if not isinstance(start, Path):
        normalise(model.stem)
        return model
    weights = load_model(start).state_dict()
    shapes = [{k: v.shape for k, v in w.items()} for w in (weights, model.state_dict())]
    words = [each.tokenizer.get_vocab() for each in (load_inputs(start), inputs)]
    if shapes[0] != shapes[1] or words[0] != words[1]:
        raise InputError(f"{start}: not of the embedded base's form; give one that is")
    model.load_state_dict(weights)
    return model


def take_over(
    start: Checkpoint,
    weights: Mapping[str, torch.Tensor],
    buffers: Mapping[str, torch.Tensor],
) -> None:
    """Give a run's model and heads the values that an earlier run ended with.

    Raises:
        InputError: the earlier run trained another model.
    """
    try:
        copy(start.part("weights"), weights)
        copy(start.part("buffers"), buffers)
    except ValueError:
        raise InputError("--start: a run of another model; give one of this version") from None


def compile_tower(model, backend: str = "inductor") -> None:
    """Compile the vision tower's stages and layers for training; measuring uses them as they are.

    On a GPU the calls of many small kernels take longer than the kernels themselves. These parts
    have the same shapes at each step, so each is compiled once.

    Args:
        model: the embedded base.
        backend: of torch.compile.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = COMPILED_FORMS
    torch._dynamo.config.suppress_errors = True  # without a compiler they run as they are
    for part in (*model.stem.stages, *model.model.vision_model.encoder.layers):
        part.forward = _in_training(part, torch.compile(part.forward, backend=backend))


def _in_training(part: torch.nn.Module, compiled: Callable) -> Callable:
    plain = part.forward
    return lambda *given, **named: (compiled if part.training else plain)(*given, **named)


# --- batch normalisation in the stem ---


def normalise(stem: Stem) -> None:
    """Start pre-training: add a batch normalisation to each unit."""
    for unit in _units(stem):
        unit.conv.bias.requires_grad_(False)  # the normalisation has its own bias
        unit.norm = nn.BatchNorm2d(unit.conv.out_channels, momentum=0.02)
    for module in stem.modules():
        if isinstance(module, Block):
            nn.init.zeros_(module.second.norm.weight)  # a block starts as the identity
    stem.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def fold(stem: Stem) -> None:
    """End pre-training: merge every normalisation, as evaluation has it, into its convolution."""
    for unit in _units(stem):
        if isinstance(unit.norm, nn.BatchNorm2d):
            unit.conv.bias.requires_grad_(True)
            unit.conv = fuse_conv_bn_eval(unit.conv.eval(), unit.norm.eval())
            unit.norm = nn.Identity()


def _units(stem: Stem) -> list[Unit]:
    return [module for module in stem.modules() if isinstance(module, Unit)]
