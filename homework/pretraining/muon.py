"""Muon, with matrix products in the precision that the device is fast in.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a
weight matrix by the nearest matrix with orthogonal rows or columns. torch.optim.Muon computes it
in bf16 on every device; a CPU without bf16 instructions emulates that, in 20 times the time of
float32 (docs/base.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

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
        """Change each weight that has a gradient."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = orthogonal(weight.grad.lerp(mean, momentum).to(self.dtype))
                # The root mean square of AdamW's updates is about 0.2 (Liu et al., 2025, Muon is
                # Scalable for LLM Training); that of a matrix with orthogonal rows depends on its
                # longer side.
                scale = 0.2 * max(weight.shape) ** 0.5
                weight.mul_(1 - rate * group["weight_decay"]).add_(update, alpha=-rate * scale)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthogonal rows or columns: singular values from 0.5 to 1.5."""
    tall = matrix.shape[0] > matrix.shape[1]
    values = matrix.T if tall else matrix
    values = values / values.norm().clamp(min=_EPSILON)  # singular values of 1 at most
    for _ in range(_STEPS):
        gram = values @ values.T
        gram = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        values = torch.addmm(values, gram, values, beta=_A)
    return values.T if tall else values
