"""Muon takes the steps of torch's own, which it stands for, and in float32 about the same ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.pretraining.muon import Muon, orthogonal

SHAPES = [(6, 6), (4, 12), (12, 4), (4, 12)]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0), (torch.float32, 2e-2)])
def test_it_takes_the_steps_of_torchs_own(dtype, tolerance):
    torch.manual_seed(0)
    ours = [torch.randn(shape, requires_grad=True) for shape in SHAPES]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    optimizers = [
        Muon(ours, dtype, weight_decay=0.05, lr=0.1),
        torch.optim.Muon(theirs, weight_decay=0.05, lr=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=tolerance)


@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 9))
def test_singular_values_come_near_one(rows, columns, seed):
    matrices = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(seed))
    matrices[1] *= 100  # the size of one changes nothing for the other
    before, after = (
        torch.linalg.svdvals(part.double()) for part in (matrices, orthogonal(matrices))
    )
    large = before > 0.1 * before.amax(-1, keepdim=True)  # smaller ones need more steps
    assert (after[large] > 0.3).all() and (after < 1.5).all()


def test_a_weight_without_a_gradient_stays():
    weight = torch.ones(2, 2, requires_grad=True)
    Muon([weight], torch.float32, weight_decay=0.5, lr=1.0).step()
    assert (weight == 1).all()
