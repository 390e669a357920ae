"""What differs between the versions of transformers that this package runs with: 4.49 to 5.24.

Each function names the versions that it is for. The course's environment has 4.52.4; a function
can go when neither the course nor a user has the older of its versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..common.files import read_json, write_json

if TYPE_CHECKING:
    from torch import nn
    from transformers import Idefics3ForConditionalGeneration


def release() -> tuple[int, int]:
    """The first two numbers of transformers' version."""
    import transformers

    major, minor = transformers.__version__.split(".")[:2]
    return int(major), int(minor)


def two_way_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings (config.json) in the names of both 4.x and 5.x.

    4.x reads `torch_dtype` and `rope_theta`, with 10,000 where the file has none. 5.x writes
    `dtype` and `rope_parameters` instead of them, and reads all four.
    """
    both = dict(settings)
    if (kind := both.get("dtype", both.get("torch_dtype"))) is not None:
        both |= {"dtype": kind, "torch_dtype": kind}
    rope = both.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        both["rope_theta"] = rope["rope_theta"]
    for name in ("text_config", "vision_config"):
        if isinstance(both.get(name), dict):
            both[name] = two_way_config(both[name])
    return both


def save_model(model, folder: Path) -> None:
    """Write weights and settings as `save_pretrained` does, the settings for 4.x and 5.x alike."""
    model.save_pretrained(folder)
    file = folder / "config.json"
    write_json(file, two_way_config(read_json(file)))


def dtype_option(dtype: Any) -> dict[str, Any]:
    """The option that sets the type of the weights: `torch_dtype` before 4.56, `dtype` since."""
    return {"torch_dtype" if release() < (4, 56) else "dtype": dtype}


def repair_positions(model: Idefics3ForConditionalGeneration) -> None:
    """Give each patch its own position, which 4.54 to 4.57 do not.

    These round a product such as 3 / 12 * (1 - 1e-6) * 12 down to 2, so that many patches get the
    position of the row or column before theirs; one answer in ten was another.
    """
    if not (4, 54) <= release() < (5, 0):
        return
    embeddings: Any = model.model.vision_model.embeddings
    library = embeddings.forward

    def forward(pixel_values: torch.Tensor, patch_attention_mask: torch.Tensor) -> torch.Tensor:
        if not patch_attention_mask.all():  # a padded image, which this package never makes
            return library(pixel_values, patch_attention_mask)
        patches = embeddings.patch_embedding(pixel_values)  # (B, D, rows, columns)
        most = embeddings.num_patches_per_side
        rows, columns = (
            torch.arange(count, device=patches.device) * most // count
            for count in patches.shape[2:]
        )
        places = (rows[:, None] * most + columns).flatten()
        return patches.flatten(2).transpose(1, 2) + embeddings.position_embedding(places)

    embeddings.forward = forward


def image_processor_class() -> type:
    """SmolVLM's image processor that works with Pillow alone.

    In 4.x and 5.0 it is Idefics3ImageProcessor. By 5.10 that name asks for torchvision, and the one
    for Pillow is Idefics3ImageProcessorPil.
    """
    import transformers

    older = "Idefics3ImageProcessor"
    return getattr(transformers, f"{older}Pil", None) or getattr(transformers, older)


def register_attention(name: str, function: Callable) -> None:
    """Add an attention function to those that transformers looks up by name.

    Since 4.53 the masks of a named attention are looked up as well; before, every attention but
    the library's own gets the whole causal mask.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS[name] = function
    try:
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    except ImportError:
        return

    def whole_mask(*args, **kwargs):
        # Without a mask, `function` would attend to everything.
        return sdpa_mask(*args, **kwargs | {"allow_is_causal_skip": False})

    ALL_MASK_ATTENTION_FUNCTIONS.register(name, whole_mask)


def use_attention(part: nn.Module, name: str) -> None:
    """Make a part of a model use the attention function of that name.

    `set_attn_implementation` came in 4.54, and its form for parts of a model later. Every version
    reads the private name that is set here.
    """
    module: Any
    for module in part.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = name
