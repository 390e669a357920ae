"""The training loop: a number that is not finite ends it, and the last checkpoint stays."""

from __future__ import annotations

import math

import pytest

from homework import finetune
from homework.common.errors import InputError
from homework.model import packing
from homework.training import resume
from homework.training.trainer import ViewTrainer


def test_a_loss_that_is_not_finite_stops_and_names_the_pictures(unfinished, options, monkeypatch):
    weighted_loss = packing.weighted_loss
    monkeypatch.setattr(packing, "weighted_loss", lambda *args: weighted_loss(*args) * math.nan)
    with pytest.raises(InputError, match=r"step 3: the loss .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert resume.is_whole(unfinished / "checkpoint-3")


def test_a_gradient_that_is_not_finite_stops_before_the_step(unfinished, options, monkeypatch):
    training_step = ViewTrainer.training_step

    def spoilt(self, model, *args, **kwargs):
        loss = training_step(self, model, *args, **kwargs)
        next(p for p in model.parameters() if p.requires_grad).grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(ViewTrainer, "training_step", spoilt)
    with pytest.raises(InputError, match=r"step 3: the gradient .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert resume.is_whole(unfinished / "checkpoint-3")
