"""The embedded base before its training: new weights, and what only pre-training adds to them.

Its shape and its tokenizer are those of the base that ships (`homework/embedded_base`): a small
model of the SmolVLM architecture, with a convolutional stem (`homework.model.stem`). Revision
a26c921 has, in this module, what made that tokenizer of the words of questions and descriptions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoModelForImageTextToText

from homework.common.files import read_json
from homework.model.compat import dtype_option
from homework.model.loading import CONFIG, EMBEDDED_BASE
from homework.model.processor import FILES
from homework.model.stem import Block, Idefics3StemConfig, Stem, Unit

if TYPE_CHECKING:
    from transformers import Idefics3Config


def base_config() -> Idefics3StemConfig:
    """The configuration of the base that ships: about 6M parameters."""
    found = read_json(EMBEDDED_BASE / CONFIG)
    settings = {name: value for name, value in found.items() if "dtype" not in name}
    # 4.x does not read 5.x's `_pad_token_id`.
    return Idefics3StemConfig.from_dict(
        settings | {"pad_token_id": found["text_config"]["pad_token_id"]}
    )


def save_processor(folder: Path) -> None:
    """Write tokenizer, settings of the image and chat template of the base to `folder`."""
    for name in FILES:
        shutil.copyfile(EMBEDDED_BASE / name, folder / name)


def build_model(seed: int, config: Idefics3Config | None = None) -> Any:
    """An Idefics3ForConditionalGeneration with new random float32 weights.

    Args:
        config: the embedded base's if None. An Idefics3Config or SmolVLMConfig gives a model
            without a stem.
    """
    config = config or base_config()
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config, **dtype_option(torch.float32))
    _initialise_attention(model)
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    return model


def _initialise_attention(model: Any) -> None:
    """Initialise each query projection like its key projection, and positions as waves.

    A token then first attends to similar tokens: a patch to its neighbours, the name of a kart to
    the patches that show it. With random weights, training finds both late.
    Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023.
    """
    vision, text = model.model.vision_model, model.model.text_model
    for layer in (*vision.encoder.layers, *text.layers):
        query, key = layer.self_attn.q_proj.weight.data, layer.self_attn.k_proj.weight.data
        torch.nn.init.orthogonal_(key, gain=0.5)
        heads = key.unflatten(0, (-1, layer.self_attn.head_dim))
        query.copy_(heads.repeat_interleave(len(query) // len(key), 0).flatten(0, 1))
    places = vision.embeddings.position_embedding.weight.data
    side, width = vision.embeddings.num_patches_per_side, places.shape[1]
    waves = torch.pi * torch.arange(1, width // 4 + 1) / (width // 4) * side / 2
    angles = torch.linspace(0, 1, side)[:, None] * waves
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    places[:, : width // 4 * 4] = 0.2 * torch.cat([rows, columns], -1).flatten(0, 1)


def compile_tower(model, backend: str = "inductor") -> None:
    """Compile the vision tower's stages and layers for training; measuring uses them as they are.

    On a GPU the calls of many small kernels take longer than the kernels themselves. These parts
    have the same shapes at each step, so each is compiled once.

    Args:
        model: the embedded base.
        backend: of torch.compile.
    """
    import torch._dynamo

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
