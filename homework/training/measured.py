"""What a training measures: means of its steps, and results on held-out pictures."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..common.share import Share
from ..data import ALL

Means = dict[str, tuple[torch.Tensor | float, float]]  # name -> (sum, count)


class HeldOutResult(NamedTuple):
    """Loss and accuracy on held-out pictures.

    Attributes:
        loss: mean over the questions.
        kinds: kind of question -> (answered right, asked).
    """

    loss: float
    kinds: dict[str, tuple[int, int]]

    @property
    def shares(self) -> list[Share]:
        """What was answered right, of each kind and last of all kinds."""
        right, asked = (sum(numbers) for numbers in zip(*self.kinds.values(), strict=True))
        kinds = (Share(kind, *numbers) for kind, numbers in self.kinds.items())
        return [*kinds, Share(ALL, right, asked)]

    @property
    def accuracy(self) -> float:
        """Share of all questions answered right."""
        return self.shares[-1].accuracy

    def record(self) -> dict[str, float]:
        """The numbers by the names under which they are logged."""
        kinds = {f"held-out {kind}": right / asked for kind, (right, asked) in self.kinds.items()}
        return {"eval_loss": self.loss, "eval_accuracy": self.accuracy, **kinds}

    @property
    def goodness(self) -> tuple[float, float]:
        """More is better: accuracy, and among equals a smaller loss."""
        return self.accuracy, -self.loss
