"""The pictures of a run in the memory of a device, and what a batch of them becomes there.

A processor core draws the changes and the labels (`draws`), which takes it a third of the time of
changing the pixels. The device cuts out, enlarges, mirrors and relights all pictures of a step at
once. The result is that of `augment`, which changes one picture at a time, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from . import augment
from .augment import View
from .draws import HEIGHT, WIDTH, Changes

MIN_SUM = 1e-6  # of an output pixel's weights; it is less where nothing is taken from


class Orders(NamedTuple):
    """The changes of B pictures as tensors; numbers of pictures count those in the memory.

    Attributes:
        pictures: int64 (B,), their numbers.
        pasted: int64 (K,), places in the batch of those that get a kart.
        donors: int64 (K,), numbers of the pictures that the karts come from.
        karts, boxes: float32 (K, 4), where the karts are there, and where they go.
        opacity: uint8 (K, 100, 150), of the karts where they go.
        relit: float32 (K,), factors on their brightness.
        cropped: int64 (C,), places of those that are cut out.
        windows: float32 (C, 4), what is cut out.
        mirrored: int64 (M,), places of those that are mirrored.
        lit: int64 (L,), places of those whose light changes.
        gains, contrast, shift: float32 (L, 3), (L,), (L,); see `draws.Light`.
    """

    pictures: torch.Tensor
    pasted: torch.Tensor
    donors: torch.Tensor
    karts: torch.Tensor
    boxes: torch.Tensor
    opacity: torch.Tensor
    relit: torch.Tensor
    cropped: torch.Tensor
    windows: torch.Tensor
    mirrored: torch.Tensor
    lit: torch.Tensor
    gains: torch.Tensor
    contrast: torch.Tensor
    shift: torch.Tensor


def orders(
    views: Sequence[View],
    numbers: Sequence[int],
    changes: Sequence[Changes],
    donors: Sequence[int],
) -> Orders:
    """The changes of a batch as tensors.

    Args:
        views: all views of the run.
        numbers: of those in the batch, among all.
        changes: one for each.
        donors: numbers of the views that `Paste.donor` counts.
    """
    places = range(len(changes))
    pasted = [place for place in places if changes[place].paste]
    cropped = [place for place in places if changes[place].window]
    lit = [place for place in places if changes[place].light]
    pastes = [paste for change in changes if (paste := change.paste)]
    windows = [window for change in changes if (window := change.window)]
    lights = [light for change in changes if (light := change.light)]
    opacity = np.zeros((len(pasted), HEIGHT, WIDTH), np.uint8)
    relit = []
    for layer, place, (donor, kart, box) in zip(opacity, pasted, pastes, strict=True):
        x1, y1, x2, y2 = box
        shown = views[donors[donor]]
        outline = Image.fromarray(augment.outline(shown.picture, kart.box))
        large = outline.resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)
        layer[y1:y2, x1:x2] = np.asarray(large)
        here = views[numbers[place]].picture
        relit.append(augment.relighting(here, box, shown.picture, kart.box))
    return Orders(
        torch.tensor(numbers, dtype=torch.int64),
        torch.tensor(pasted, dtype=torch.int64),
        torch.tensor([donors[paste.donor] for paste in pastes], dtype=torch.int64),
        _floats([paste.kart.box for paste in pastes], 4),
        _floats([paste.box for paste in pastes], 4),
        torch.from_numpy(opacity),
        torch.tensor(relit, dtype=torch.float32),
        torch.tensor(cropped, dtype=torch.int64),
        _floats(windows, 4),
        torch.tensor([p for p in places if changes[p].mirror], dtype=torch.int64),
        torch.tensor(lit, dtype=torch.int64),
        _floats([light.gains for light in lights], 3),
        torch.tensor([light.contrast for light in lights], dtype=torch.float32),
        torch.tensor([light.shift for light in lights], dtype=torch.float32),
    )


class Pictures:
    """All pictures of a run on a device.

    Args:
        views: whose pictures these are.
        side: of the squares that the model takes.
        device: of torch; 45 kB of its memory for each picture.
    """

    def __init__(self, views: Sequence[View], side: int, device: str) -> None:
        # In parts, so that the host never holds a second copy of them all.
        self._all = torch.empty((len(views), 3, HEIGHT, WIDTH), dtype=torch.uint8, device=device)
        for start in range(0, len(views), 1024):
            part = np.stack([view.picture for view in views[start : start + 1024]])
            self._all[start : start + 1024] = torch.from_numpy(part).to(device).permute(0, 3, 1, 2)
        zero = torch.zeros(1, device=device)
        self._to_square = [
            weights(zero, zero + size / side, side, size, triangle) for size in (WIDTH, HEIGHT)
        ]

    def squares(self, asked: Orders) -> torch.Tensor:
        """The pictures of a batch after their changes: uint8 (B, side, side, 3).

        Args:
            asked: on the same device.
        """
        return resample(self.changed(asked), *self._to_square).permute(0, 2, 3, 1).byte()

    def changed(self, asked: Orders) -> torch.Tensor:
        """The pictures of a batch in their own size: float32 (B, 3, 100, 150), whole numbers."""
        pixels = self._all[asked.pictures].float()
        if len(asked.pasted):
            pixels[asked.pasted] = self._with_karts(pixels[asked.pasted], asked)
        if len(asked.cropped):
            left, top, right, bottom = asked.windows.unbind(1)
            across = weights(left, (right - left) / WIDTH, WIDTH, WIDTH, cubic)
            down = weights(top, (bottom - top) / HEIGHT, HEIGHT, HEIGHT, cubic)
            pixels[asked.cropped] = resample(pixels[asked.cropped], across, down)
        if len(asked.mirrored):
            pixels[asked.mirrored] = pixels[asked.mirrored].flip(-1)
        if len(asked.lit):
            lit = pixels[asked.lit]
            mean = lit.mean((1, 2, 3), keepdim=True)
            contrast, shift = (part.view(-1, 1, 1, 1) for part in (asked.contrast, asked.shift))
            gains = asked.gains.view(-1, 3, 1, 1)
            # ((v - mean) * contrast + mean + shift) * gain, as one factor and one summand.
            offset = (mean - mean * contrast + shift) * gains
            pixels[asked.lit] = lit.mul_(contrast * gains).add_(offset).clamp_(0, 255).floor_()
        return pixels

    def _with_karts(self, pixels: torch.Tensor, asked: Orders) -> torch.Tensor:
        """These pictures with a kart each."""
        x1, y1, x2, y2 = asked.karts.unbind(1)
        left, top, right, bottom = asked.boxes.unbind(1)
        wide, high = (x2 - x1) / (right - left), (y2 - y1) / (bottom - top)
        across = weights(x1 - left * wide, wide, WIDTH, WIDTH, cubic)
        down = weights(y1 - top * high, high, HEIGHT, HEIGHT, cubic)
        karts = resample(self._all[asked.donors].float(), across, down)
        karts *= asked.relit.view(-1, 1, 1, 1)
        opacity = asked.opacity.unsqueeze(1).float() / 255
        return torch.lerp(pixels, karts, opacity).clamp_(0, 255).floor_()


def weights(
    starts: torch.Tensor,
    scales: torch.Tensor,
    to: int,
    of: int,
    kernel: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """How much of each input pixel is in each output pixel, as Pillow resizes: (N, to, of).

    Args:
        starts: where the first output pixel begins, in input pixels: (N,).
        scales: input pixels of an output pixel: (N,).
        kernel: `cubic` or `triangle`; it is widened where the picture is made smaller.
    """
    outputs = torch.arange(to, device=starts.device) + 0.5
    inputs = torch.arange(of, device=starts.device) + 0.5
    centers = starts[:, None] + outputs * scales[:, None]
    away = (inputs - centers[..., None]) / scales.clamp(min=1)[:, None, None]
    found = kernel(away.abs_())
    return found / found.sum(-1, keepdim=True).clamp(min=MIN_SUM)


def cubic(away: torch.Tensor) -> torch.Tensor:
    """Pillow's bicubic kernel (a = -0.5) at these distances of 0 or more."""
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))


def triangle(away: torch.Tensor) -> torch.Tensor:
    """Pillow's bilinear kernel at these distances of 0 or more."""
    return (1 - away).clamp_(min=0)


def resample(pixels: torch.Tensor, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Pictures resized by `weights`, first across and then down, rounded after each as in Pillow.

    Args:
        pixels: float32 (N, 3, height, width).
        across, down: (N, to, width) and (N, to, height), or one for all pictures.
    """
    wide = (pixels.flatten(1, 2) @ across.mT).round_().clamp_(0, 255)
    wide = wide.unflatten(1, (3, -1))
    return (down.unsqueeze(1) @ wide).round_().clamp_(0, 255)


def _floats(rows: Sequence[Sequence[float]], width: int) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, width)
