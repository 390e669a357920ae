"""A SmolVLM with a convolutional stem in its vision tower.

The vision tower of SmolVLM turns each patch into a token with a single matrix product. Here a small
residual network replaces that product; everything else is as in SmolVLM (Xiao et al., Early
Convolutions Help Transformers See Better, 2021).

    pixels (B, 3, S, S) -> cells of `stem_side` pixels -> residual stages of decreasing resolution
    -> (B, hidden size, S / patch, S / patch)

Pre-training has a batch normalisation in each unit, which is then merged into the convolution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
)

MODEL_TYPE = "idefics3_stem"


class Idefics3StemConfig(Idefics3Config):
    """The configuration of a SmolVLM with the shape of the stem.

    Attributes:
        stem_side: side in pixels of the cells that the image is cut into.
        stem_strides: stride of each stage.
        stem_channels: channels of each stage.
        stem_blocks: residual blocks of each stage.
    """

    model_type = MODEL_TYPE
    if TYPE_CHECKING:
        vision_config: Any = None  # transformers announces a dict or None as well

    def __init__(
        self,
        stem_side=2,
        stem_strides=(1, 2, 3),
        stem_channels=(32, 96, 192),
        stem_blocks=(2, 2, 2),
        **settings,
    ) -> None:
        self.stem_side = stem_side
        self.stem_strides = stem_strides
        self.stem_channels = stem_channels
        self.stem_blocks = stem_blocks
        super().__init__(**settings)

    def check(self) -> None:
        """Raise ValueError for a stem whose output does not have one cell per patch."""
        parts = (self.stem_strides, self.stem_channels, self.stem_blocks)
        if not 0 < len(self.stem_strides) == len(self.stem_channels) == len(self.stem_blocks) <= 8:
            raise ValueError("the stem's lists need a number for each stage, 8 at most")
        for numbers, least, most in zip(parts, (1, 1, 0), (16, 2048, 64), strict=True):
            if not all(least <= number <= most for number in numbers):
                raise ValueError(f"a number of the stem is not from {least} to {most}")
        patch = self.vision_config.patch_size
        if self.stem_side < 1 or self.stem_side * math.prod(self.stem_strides) != patch:
            raise ValueError(f"the stem's stages do not end at patches of {patch}")


class Unit(nn.Module):
    """A 3x3 convolution, with a normalisation in pre-training."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        # Any, as torch announces parameters that may be None.
        self.conv: Any = nn.Conv2d(inputs, outputs, 3, stride, 1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)
        self.norm: Any = nn.Identity()  # but in pre-training

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(values))


class Block(nn.Module):
    """Two units with a residual connection (He et al., 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Unit(channels, channels), Unit(channels, channels)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = self.second(functional.relu(self.first(values), inplace=True))
        return functional.relu(inner + values, inplace=True)


class Stage(nn.Module):
    """A unit that changes channels and resolution, followed by residual blocks."""

    def __init__(self, inputs: int, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.enter = Unit(inputs, channels, stride)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = functional.relu(self.enter(values), inplace=True)
        for block in self.blocks:
            values = block(values)
        return values


class Stem(nn.Module):
    """Replaces `patch_embedding`: (B, 3, H, W) to (B, hidden size, H / patch, W / patch)."""

    def __init__(self, config: Idefics3StemConfig) -> None:
        super().__init__()
        self.side = config.stem_side
        inputs = config.vision_config.num_channels * self.side**2
        self.stages = nn.ModuleList()
        for stride, channels, blocks in zip(
            config.stem_strides, config.stem_channels, config.stem_blocks, strict=True
        ):
            self.stages.append(Stage(inputs, channels, blocks, stride))
            inputs = channels
        self.project = nn.Conv2d(inputs, config.vision_config.hidden_size, 1)
        nn.init.kaiming_normal_(self.project.weight, nonlinearity="linear")

    @property
    def weight(self) -> torch.Tensor:
        """The vision tower reads its dtype."""
        return self.project.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = functional.pixel_unshuffle(pixels, self.side)
        values = values.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            values = stage(values)
        return self.project(values)


class Idefics3StemForConditionalGeneration(Idefics3ForConditionalGeneration):
    """SmolVLM with a convolutional stem."""

    config: Idefics3StemConfig
    config_class = Idefics3StemConfig
    model: Any  # Idefics3Model, whose patch embedding is a stem

    def __init__(self, config: Idefics3StemConfig) -> None:
        super().__init__(config)
        config.check()
        self.model.vision_model.embeddings.patch_embedding = Stem(config)

    @property
    def stem(self) -> Stem:
        """The stem itself."""
        return self.model.vision_model.embeddings.patch_embedding


def register() -> None:
    """Register the model type with the Auto classes of transformers."""
    AutoConfig.register(MODEL_TYPE, Idefics3StemConfig, exist_ok=True)
    AutoModelForImageTextToText.register(
        Idefics3StemConfig, Idefics3StemForConditionalGeneration, exist_ok=True
    )


register()
