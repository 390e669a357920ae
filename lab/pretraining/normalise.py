"""Batch normalisation in the stem, for the time of pre-training.

It is merged into the convolutions at the end, so that the result for a picture does not depend on
the batch.
"""

from __future__ import annotations

import torch
from torch import nn

from homework.model.stem import Block, Stem, Unit


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
        norm = unit.norm
        if isinstance(unit.norm, nn.BatchNorm2d):
            with torch.no_grad():
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                unit.conv.weight *= scale[:, None, None, None]
                unit.conv.bias.copy_((unit.conv.bias - norm.running_mean) * scale + norm.bias)
            unit.norm = nn.Identity()
        unit.conv.bias.requires_grad_(True)


def _units(stem: Stem) -> list[Unit]:
    return [module for module in stem.modules() if isinstance(module, Unit)]
