"""Attention over shared prefixes: plain matrix products, and only where a block of them is due.

transformers asks for attention by name; `use` gives a model ours. It serves any mask like the
library's own, and besides a packed row (see `packing`): all prefixes, then all branches. There it
never makes the L x L scores of which nearly all would be masked: a prefix attends to itself, a
branch to its prefix and itself.

On a CPU plain products are quicker than the fused attention, forward and backward, bf16 above
all (docs/speed.md); elsewhere the fused one is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "shared_prefix"
# Patches from which the vision tower takes the fused attention: plain scores of 12 heads over
# 1,024 patches would fill 300 MB a picture in training.
MANY_PATCHES = 512


class Layout(NamedTuple):
    """Where the tokens of a packed row lie: F prefixes of P tokens, then N branches, one row.

    Attributes:
        count, size: F and P.
        frames: int64 (N,), which prefix a branch sees.
        branches: int64 (F, M, B), places of the tokens of each prefix' branches; missing branches
            and tokens are filled up with some place, whose results are dropped.
        tokens: int64 (tokens of all branches,), places in the flattened (F, M, B) that are real,
            in the row's order.
    """

    count: int
    size: int
    frames: torch.Tensor
    branches: torch.Tensor
    tokens: torch.Tensor


def use(model) -> None:
    """Let an Idefics3 model attend as this module does, in the text model and the vision tower."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, _mask)
    vision = model.config.vision_config
    many = (vision.image_size // vision.patch_size) ** 2 >= MANY_PATCHES
    fused = many or model.device.type != "cpu"
    model.set_attn_implementation({"text_config": NAME, "vision_config": "sdpa" if fused else NAME})


def attention(module, query, key, value, attention_mask, scaling=None, layout=None, **kwargs):
    """Attention as transformers calls it.

    Args:
        query: (rows, heads, Q, width); key, value: (rows, key heads, K, width).
        attention_mask: None or bool, broadcast to (rows, 1, Q, K), true where seen.
        layout: of a packed row; the mask is then not looked at.

    Returns:
        (rows, Q, heads, width), and None for the weights.
    """
    if layout is None:
        seen = attend(query, key, value, attention_mask, scaling)
        return seen.transpose(1, 2).contiguous(), None
    # From here on (tokens, heads, width): of one row.
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    size = layout.size
    prefixes = [
        part[: layout.count * size].unflatten(0, (layout.count, size)).transpose(1, 2)
        for part in (query, key, value)
    ]
    behind = torch.ones(size, size, dtype=torch.bool, device=query.device).tril()
    parts = [attend(*prefixes, behind, scaling).transpose(1, 2).flatten(0, 1)]
    if layout.branches.numel():
        places = layout.branches.flatten()
        own = [
            part.index_select(0, places).unflatten(0, layout.branches.shape).movedim(3, 1)
            for part in (query, key, value)
        ]
        seen = _attend_branches(*own, *prefixes[1:], scaling).movedim(1, 3)
        parts.append(seen.flatten(0, 2).index_select(0, layout.tokens))
    return torch.cat(parts).unsqueeze(0), None


def _attend_branches(query, key, value, prefix_key, prefix_value, scaling):
    """What branches see: all of their prefix, which is never copied, and themselves so far.

    Args:
        query: (F, heads, M, B, width); key, value: (F, key heads, M, B, width).
        prefix_key, prefix_value: (F, key heads, P, width).

    Returns:
        (F, heads, M, B, width).
    """
    count, heads, several, length, width = query.shape
    groups, size = prefix_key.shape[1:3]
    shared = heads // groups
    scaling = width**-0.5 if scaling is None else scaling
    query = (query * scaling).unflatten(1, (groups, shared))
    above = query.reshape(count, groups, -1, width) @ prefix_key.transpose(-1, -2)
    above = above.view(count, groups, shared, several, length, size)
    own = query @ key.unsqueeze(2).transpose(-1, -2)
    behind = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    own = own.masked_fill(~behind, torch.finfo(own.dtype).min)
    weights = torch.cat([above, own], -1).softmax(-1)
    above, own = weights.split([size, length], -1)
    seen = (above.reshape(count, groups, -1, size) @ prefix_value).view_as(query)
    return (seen + own @ value.unsqueeze(2)).flatten(1, 2)


def attend(query, key, value, mask, scaling):
    """softmax(query key^T) value; several query heads may share a key head."""
    rows, heads, length, width = query.shape
    scaling = width**-0.5 if scaling is None else scaling
    shared = heads // key.shape[1]
    if query.device.type != "cpu":
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scaling, enable_gqa=shared > 1
        )
    # The heads that share a key are rows of one product.
    query = (query * scaling).reshape(rows, heads // shared, shared * length, width)
    scores = query @ key.transpose(-1, -2)
    if mask is not None:
        apart = scores.view(*scores.shape[:2], shared, length, -1)
        hidden = ~mask if mask.dim() == 2 else ~mask.unsqueeze(2)
        lowest = torch.finfo(scores.dtype).min
        scores = apart.masked_fill(hidden, lowest).view_as(scores)
    return (scores.softmax(-1) @ value).view(rows, heads, length, width)


def _mask(*args, allow_is_causal_skip=True, **kwargs):
    """A causal mask is written out: without one, `attention` takes all for seen."""
    return sdpa_mask(*args, allow_is_causal_skip=False, **kwargs)
