"""Heat maps of where a model looks for an answer: HiResCAM on the last layer of the vision tower.

The heat of a patch estimates, to first order, how much log-probability the answer (with its end
token) loses if the features of the patch are replaced by the mean over the image: gradient times
difference from the mean, summed over the channels, negative values set to 0. HiResCAM is Draelos
and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", 2020, arXiv:2011.08891;
the difference from a reference is Shrikumar et al. 2017, arXiv:1704.02685.

Grad-CAM (Selvaraju et al. 2017) first averages the gradient over the patches, which loses the
place; docs/training.md says how often each finds the kart asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..frames.images import enlarge, open_image

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from .vlm import BaseVLM

METHOD = "HiResCAM (Draelos and Carin 2020) on the last layer of the vision tower"
BATCH_SIZE = 32
MAX_SIDE = 16  # cells per side; a finer map is averaged down
ORANGE = (255, 140, 0)
OPACITY = 0.65  # of the orange where the heat is 1


def heat_maps(
    vlm: BaseVLM,
    image_paths: Sequence[str | Path],
    questions: Sequence[str],
    answers: Sequence[str],
) -> np.ndarray:
    """How much each part of an image contributes to an answer.

    Returns:
        float32 (N, rows, columns) over the whole image, scaled so that the maximum of each map
        is 1; all 0 if no patch contributes.

    Raises InputError if an image cannot be read, or the numbers of arguments differ.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    if vlm.inputs.starter:
        raise InputError(
            "no heat map: the adapter takes images in the starter code's form, which may be tiles"
        )
    if not len(image_paths) == len(questions) == len(answers):
        raise InputError(
            f"{len(image_paths)} images, {len(questions)} questions, {len(answers)} answers"
        )
    asked = list(zip(map(str, image_paths), questions, answers, strict=True))
    # Questions about one image are neighbours, so that it is encoded once.
    order = sorted(range(len(asked)), key=lambda index: asked[index][0])
    maps: list[np.ndarray] = [np.empty(0)] * len(asked)
    bar = tqdm(total=len(asked), unit="heat map", disable=len(asked) <= BATCH_SIZE)
    with bar, torch.enable_grad():
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            for index, values in zip(batch, _maps(vlm, [asked[i] for i in batch]), strict=True):
                maps[index] = values
            bar.update(len(batch))
    return np.stack(maps) if maps else np.empty((0, 1, 1), np.float32)


def overlay(image: Image, heat: np.ndarray) -> Image:
    """Enlarge an image and light it up in orange by `heat`, (rows, columns) from 0 to 1."""
    import numpy as np
    from PIL import Image as Pillow

    large = enlarge(image)
    cells = Pillow.fromarray((np.clip(heat, 0, 1) * 255).round().astype(np.uint8))
    warm = cells.resize(large.size, Pillow.Resampling.BICUBIC)
    large, warm = (np.asarray(part, np.float32) for part in (large, warm))
    warm = warm[..., None] / 255
    mixed = large + OPACITY * warm * (np.array(ORANGE, np.float32) - large)  # (height, width, 3)
    return Pillow.fromarray(mixed.round().astype(np.uint8))


def _maps(vlm: BaseVLM, asked: list[tuple[str, str, str]]) -> np.ndarray:
    """Heat maps of one batch of (image_path, question, answer): (N, side, side)."""
    import torch

    paths = list(dict.fromkeys(path for path, _, _ in asked))
    # The vision tower in the fast precision of the device; the gradient in float32.
    with torch.no_grad(), torch.autocast(vlm.device, vlm.dtype, vlm.dtype != torch.float32):
        features = _patch_features(vlm, paths).float()
    rows = [paths.index(path) for path, _, _ in asked]
    patches = features[rows].requires_grad_()  # (N, P, C), one leaf per question
    loss = _loss(vlm, patches, [(question, answer) for _, question, answer in asked])
    (gradient,) = torch.autograd.grad(loss, patches)
    difference = features[rows].mean(1, keepdim=True) - features[rows]
    heat = (gradient * difference).sum(-1).clamp(min=0)  # (N, P)
    side = round(heat.shape[1] ** 0.5)
    heat = heat.view(-1, 1, side, side)
    while side > MAX_SIDE:
        heat, side = torch.nn.functional.avg_pool2d(heat, 2), side // 2
    heat = heat[:, 0] / heat.amax(dim=(1, 2, 3)).clamp(min=1e-12)[:, None, None]
    return heat.float().cpu().numpy()


def _patch_features(vlm: BaseVLM, paths: list[str]) -> torch.Tensor:
    """Output of the vision tower: (images, P, C)."""
    squares = [vlm.inputs.resize(open_image(path)) for path in paths]
    pixels = vlm.inputs.pixel_values(squares)[:, 0].to(vlm.device)  # (images, 3, side, side)
    tower = vlm.network.model.vision_model
    return tower(pixel_values=pixels, return_dict=True).last_hidden_state


def _loss(vlm: BaseVLM, patches: torch.Tensor, pairs: list[tuple[str, str]]) -> torch.Tensor:
    """The loss of training on answers, given features (N, P, C) of the image of each pair."""
    from accelerate.utils import send_to_device

    from . import packing

    sequences = [vlm.inputs.view_sequence([pair]) for pair in pairs]
    row = send_to_device(packing.pack(sequences, len(vlm.inputs.prefix_ids)), vlm.device)
    tokens = vlm.network.model.connector(patches)  # (N, image tokens, D)
    return packing.weighted_loss(packing.answer_logits(vlm.network, row, tokens), row)
