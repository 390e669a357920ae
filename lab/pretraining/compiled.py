"""Parts of the vision tower through torch.compile, for pre-training on a GPU.

There the calls of many small kernels take longer than the kernels themselves. The stages of the
stem and the layers behind it have the same shapes at each step, so each is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Three stages and one form of layer, for each of a few forms of the stem.
_FORMS = 64


def use(model, backend: str = "inductor") -> None:
    """Compile the stages and layers of a model for training; measuring uses them as they are.

    Args:
        model: the embedded base.
        backend: of torch.compile.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = _FORMS
    for part in (*model.stem.stages, *model.model.vision_model.encoder.layers):
        part.forward = _in_training(part, torch.compile(part.forward, backend=backend))


def _in_training(part: torch.nn.Module, compiled: Callable) -> Callable:
    plain = part.forward

    def forward(*args, **kwargs):
        return (compiled if part.training else plain)(*args, **kwargs)

    return forward
