"""Pre-training's optimizers: AdamW, and Muon in the precision that the device is fast in.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a
weight matrix by the nearest matrix with orthogonal rows or columns. torch.optim.Muon computes it
in bf16 on every device; a CPU without bf16 instructions emulates that, in 20 times the time of
float32 (lab/LOG.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch

foreach: Any = torch  # its functions on lists of tensors have no types

# Of the quintic iteration that takes singular values to about 1, as published.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for matrices; steps as long as AdamW's of the same rate.

    Args:
        weights: matrices.
        dtype: of the matrix products.
        weight_decay: decoupled, multiplied by the rate.
    """

    def __init__(
        self,
        weights: Iterable[torch.Tensor],
        dtype: torch.dtype,
        weight_decay: float,
        momentum: float = 0.95,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Change each weight that has a gradient.

        Weights of one shape change together: a GPU takes as long for one.
        """
        for group in self.param_groups:
            alike: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for shape, weights in alike.items():
                gradients: Any = [weight.grad for weight in weights]
                for weight in weights:
                    if not self.state[weight]:
                        self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
                means = [self.state[weight]["momentum_buffer"] for weight in weights]
                foreach._foreach_lerp_(means, gradients, 1 - group["momentum"])
                # Nesterov's: of this step's gradients and the new means.
                momentum = torch.stack(gradients).lerp_(torch.stack(means), group["momentum"])
                updates = orthogonal(momentum.to(self.dtype)).to(momentum.dtype)
                # The root mean square of AdamW's updates is about 0.2 (Liu et al., 2025, Muon is
                # Scalable for LLM Training); that of a matrix with orthogonal rows depends on its
                # longer side.
                rate, scale = group["lr"], 0.2 * max(shape) ** 0.5
                foreach._foreach_mul_(weights, 1 - rate * group["weight_decay"])
                foreach._foreach_add_(weights, updates.unbind(), alpha=-rate * scale)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """About the nearest matrices with orthogonal rows or columns: singular values 0.5 to 1.5.

    Args:
        matrices: (N, rows, columns).
    """
    tall = matrices.shape[1] > matrices.shape[2]
    values = matrices.mT if tall else matrices
    norms = values.flatten(1).norm(dim=1).clamp(min=_EPSILON)
    values = values / norms[:, None, None]  # singular values of 1 at most
    for _ in range(_STEPS):
        gram = values @ values.mT
        gram = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        values = torch.baddbmm(values, gram, values, beta=_A)
    return values.mT if tall else values


def build_optimizers(model, heads, dtype: torch.dtype) -> Sequence[torch.optim.Optimizer]:
    """Muon for the weights between hidden layers, AdamW for all others.

    Muon needs some 0.6 of AdamW's steps here (lab/LOG.md).
    """
    matrices = [
        weight
        for name, weight in model.named_parameters()
        if weight.dim() == 2 and "embed" not in name and "lm_head" not in name
    ]
    taken = {id(weight) for weight in matrices}
    others = [
        (weight, "embed" not in name and weight.dim() > 1)
        for name, weight in (*model.named_parameters(), *heads.named_parameters())
        if id(weight) not in taken and weight.requires_grad
    ]
    groups = [
        {
            "params": [weight for weight, decays in others if decays == chosen],
            "weight_decay": 0.05 * chosen,
        }
        for chosen in (True, False)
    ]
    return [
        Muon(matrices, dtype, weight_decay=0.05),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=model.device.type == "cuda"),
    ]
