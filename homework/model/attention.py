"""Attention for packed rows: matrix products for the blocks of the mask that are not empty.

transformers looks up attention functions by name; `use` registers ours for a model. With a mask it
behaves like the attention of the library. With the layout of a packed row (see `packing` for the
mask) it never computes the L x L logits, nearly all of which would be masked:

                 prefixes              branches
    prefixes     causal, per prefix    (empty)
    branches     own prefix, whole     causal, per branch

On a CPU plain matrix products are faster than the fused attention, forward and backward, most of
all in bf16 (docs/speed.md). Other devices use the fused attention for everything but the branches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from . import compat

NAME = "shared_prefix"
# From this number of patches the vision tower uses the fused attention: in training, plain logits
# of 12 heads over 1,024 patches would fill 300 MB per image.
MANY_PATCHES = 512


class Layout(NamedTuple):
    """The positions of tokens in a packed row: F prefixes of P tokens each, then N branches."""

    count: int  # F
    size: int  # P
    frames: torch.Tensor  # int64 (N,), the prefix that a branch attends to
    # int64 (F, M, B), positions of the tokens of each prefix's branches, padded to M branches of B
    # tokens; results of the padding are dropped.
    branches: torch.Tensor
    tokens: torch.Tensor  # int64 (branch tokens,), indices of `branches`, flat, without padding


def use(model) -> None:
    """Use this attention in the text model and the vision tower of an Idefics3 model."""
    compat.register_attention(NAME, attention)
    vision = model.config.vision_config
    many = (vision.image_size // vision.patch_size) ** 2 >= MANY_PATCHES
    fused = many or model.device.type != "cpu"
    compat.use_attention(model.model.text_model, NAME)
    compat.use_attention(model.model.vision_model, "sdpa" if fused else NAME)


def attention(
    module, query, key, value, attention_mask, scaling=None, layout=None, store=None, **kwargs
):
    """The attention function as transformers calls it: H query heads, G key heads of width W.

    Args:
        query: (R, H, Q, W); key, value: (R, G, K, W).
        attention_mask: None, or broadcast to (R, 1, Q, K or more): bool, true where a token
            attends, or added to the logits, as transformers made them before 4.53.
        layout: of a packed row, R = 1; the mask is then ignored.
        store: PrefixCache that keeps the keys and values of each layer and has those before.

    Returns:
        (R, Q, H, W), and None for the weights.
    """
    if store is not None:
        key, value = store.update(key, value, module.layer_idx)
    if layout is None:
        if attention_mask is not None:
            attention_mask = attention_mask[..., : key.shape[2]]
            if attention_mask.dtype != torch.bool:
                attention_mask = attention_mask == 0
        output = attend(query, key, value, attention_mask, scaling)
        return output.transpose(1, 2).contiguous(), None
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))  # (T, H or G, W)
    size = layout.size
    prefixes = [
        part[: layout.count * size].unflatten(0, (layout.count, size)).transpose(1, 2)
        for part in (query, key, value)
    ]  # (F, H or G, P, W)
    causal = torch.ones(size, size, dtype=torch.bool, device=query.device).tril()
    output = attend(*prefixes, mask=causal, scaling=scaling)  # (F, H, P, W)
    parts = [output.transpose(1, 2).flatten(0, 1)]  # (F * P, H, W)
    if layout.branches.numel():
        positions = layout.branches.flatten()
        branches = [
            part.index_select(0, positions).unflatten(0, layout.branches.shape).movedim(3, 1)
            for part in (query, key, value)
        ]  # (F, H or G, M, B, W)
        output = _attend_branches(*branches, *prefixes[1:], scaling=scaling).movedim(1, 3)
        parts.append(output.flatten(0, 2).index_select(0, layout.tokens))
    return torch.cat(parts).unsqueeze(0), None


def _attend_branches(query, key, value, prefix_key, prefix_value, scaling):
    """Attention of branches to their prefix, which is never copied, and causally to themselves.

    Args:
        query: (F, H, M, B, W); key, value: (F, G, M, B, W).
        prefix_key, prefix_value: (F, G, P, W).

    Returns:
        (F, H, M, B, W).
    """
    count, heads, several, length, width = query.shape
    groups, size = prefix_key.shape[1:3]
    shared = heads // groups  # S query heads per key head
    scaling = width**-0.5 if scaling is None else scaling
    query = (query * scaling).unflatten(1, (groups, shared))  # (F, G, S, M, B, W)
    above = query.reshape(count, groups, -1, width) @ prefix_key.transpose(-1, -2)
    above = above.view(count, groups, shared, several, length, size)  # (F, G, S, M, B, P)
    own = query @ key.unsqueeze(2).transpose(-1, -2)  # (F, G, S, M, B, B)
    causal = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    own = own.masked_fill(~causal, torch.finfo(own.dtype).min)
    weights = torch.cat([above, own], -1).softmax(-1)
    above, own = weights.split([size, length], -1)
    output = (above.reshape(count, groups, -1, size) @ prefix_value).view_as(query)
    return (output + own @ value.unsqueeze(2)).flatten(1, 2)


def attend(query, key, value, mask, scaling):
    """softmax(query key^T) value: (R, H, Q, W); see `attention` for the shapes."""
    rows, heads, length, width = query.shape
    scaling = width**-0.5 if scaling is None else scaling
    shared = heads // key.shape[1]
    if query.device.type != "cpu":
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scaling, enable_gqa=shared > 1
        )
    # The S heads that share a key are rows of one product.
    query = (query * scaling).reshape(rows, heads // shared, shared * length, width)
    logits = query @ key.transpose(-1, -2)  # (R, G, S * Q, K)
    if mask is not None:
        split = logits.view(*logits.shape[:2], shared, length, -1)  # (R, G, S, Q, K)
        hidden = ~mask if mask.dim() == 2 else ~mask.unsqueeze(2)
        lowest = torch.finfo(logits.dtype).min
        logits = split.masked_fill(hidden, lowest).view_as(logits)
    return (logits.softmax(-1) @ value).view(rows, heads, length, width)
