"""The heads that teach the vision tower the dense and the fine labels; no base keeps them.

The dense ones read what the connector hands to the text model, and score it against the
vocabulary's own embeddings: a patch that shows nolok, left of the ego, comes to lie near the
tokens ` nolok` and ` left`. A sentence or question that names nolok then finds the patch by
likeness, and the answer in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from homework.labels.questions import KARTS

from .dense_labels import IMAGE_HEADS, PATCH_HEADS, Centers

AT_CENTERS = ("kart", "side", "depth", "ego")  # heads that are scored once more at karts' centres
_NO_CENTER = -4.0  # initial logit of "this cell is a centre": few cells are
_CENTER_WEIGHT = 4.0  # loss weight of a patch with a kart's centre: few patches have one


class Heads(nn.Module):
    """Scores of every dense label from image tokens.

    Args:
        width: of an image token.
        word_ids: the tokens of each WORD_HEADS' words, one a word.
    """

    def __init__(self, width: int, word_ids: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.words = list(word_ids)
        for name, ids in word_ids.items():
            self.register_buffer(f"{name} ids", torch.tensor(ids), persistent=False)
        self._own = [1 if name in word_ids else classes for name, classes in PATCH_HEADS.items()]
        self.patch = nn.Linear(width, sum(self._own))
        self.image = nn.Linear(width, sum(IMAGE_HEADS.values()))
        self.sharpness = nn.Parameter(torch.tensor(10.0))  # of likeness to a word

    def forward(self, tokens: torch.Tensor, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores by head: (B, P, classes) of patches, (B, classes) of images.

        Args:
            tokens: image tokens, one a patch: (B, P, width).
            embeddings: of the vocabulary: (V, width).
        """
        tokens = functional.rms_norm(tokens, tokens.shape[-1:])
        own = self.patch(tokens).float().split(self._own, dim=-1)
        scores = dict(zip(PATCH_HEADS, own, strict=True))
        for name in self.words:
            shown = embeddings[self.get_buffer(f"{name} ids")]
            words = functional.linear(tokens, shown).float() * self.sharpness
            scores[name] = torch.cat([scores[name], words], dim=-1)
        image = self.image(tokens.mean(dim=1)).float()
        image = image.split(list(IMAGE_HEADS.values()), dim=-1)
        return scores | dict(zip(IMAGE_HEADS, image, strict=True))


class CenterHead(nn.Module):
    """Scores of the fine labels, from a stage of the stem and the vision tower's patches.

    Args:
        fine, coarse: channels of the stage and of the patches.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(coarse, fine, 1)
        self.mix = nn.Conv2d(fine, fine, 3, padding=1)
        self.scores: Any = nn.Conv2d(fine, 1 + len(KARTS) + 4, 1)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)
        self.scores.bias.data[0] = _NO_CENTER

    def forward(self, stage: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Scores of each cell: (B, side, side, 1 + karts + 4).

        Args:
            stage: (B, fine, side, side).
            patches: (B, coarse, patches a side, patches a side).
        """
        context = functional.interpolate(self.down(patches), stage.shape[-2:], mode="nearest")
        mixed = functional.relu(self.mix(functional.relu(stage + context)))
        return self.scores(mixed).float().permute(0, 2, 3, 1)


def center_losses(scores: torch.Tensor, truth: Centers) -> dict[str, torch.Tensor]:
    """Losses of the fine labels, each per kart: heat map, names, boxes.

    Args:
        scores: `CenterHead`'s.
        truth: its fields as tensors.
    """
    heat, names, boxes = scores.flatten(0, 2).split([1, len(KARTS), 4], dim=-1)
    heat, target = heat[:, 0], truth.heat.flatten()
    karts = max(len(truth.cells), 1)
    # The focal loss of Objects as Points, on logits.
    missed, found = functional.softplus(-heat), functional.softplus(heat)
    likely = heat.sigmoid()
    away = (1 - target) ** 4 * likely**2 * found
    at = (1 - likely[truth.cells]) ** 2 * missed[truth.cells] - away[truth.cells]
    return {
        "heat": (away.sum() + at.sum()) / karts,
        "name": functional.cross_entropy(names[truth.cells], truth.names, reduction="sum") / karts,
        "box": (boxes[truth.cells] - truth.boxes).abs().sum() / karts,
    }


def losses(
    scores: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], centers: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Mean cross-entropy of every head; of AT_CENTERS once more at the centres of karts.

    Large karts and background dominate the mean over all patches. In the mean over the centres each
    kart counts the same, small ones too.

    Args:
        targets: `dense_labels.labels` of B scenes, stacked.
        centers: int64 (K,), the patches with a kart's centre, counted through the batch.
    """
    found = {}
    for name, each in scores.items():
        values, target = each.flatten(0, -2), targets[name].flatten()
        weight = None
        if name == "center":
            weight = torch.ones(2, device=values.device)  # no copy from the host
            weight[1:] = _CENTER_WEIGHT
        found[name] = functional.cross_entropy(values, target, weight=weight)
        if name in AT_CENTERS:
            # A sum, as a batch may show no kart.
            at = functional.cross_entropy(values[centers], target[centers], reduction="sum")
            found[f"{name} at centers"] = at / max(len(centers), 1)
    return found
