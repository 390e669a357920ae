"""The images of a run, and what a batch of them becomes on a device: a GPU, or the CPU.

A processor core draws the changes and the labels (`draws`). The device pastes karts, cuts out,
enlarges, mirrors and relights all images of a step at once, as Pillow does it but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter

from homework.labels.scene import Scene

from .draws import HEIGHT, WIDTH, Box, Changes

MAX_RELIGHTING = 1.6  # factor on the brightness of a pasted kart
MIN_SUM = 1e-6  # of an output pixel's weights; it is less where nothing is taken from


class View(NamedTuple):
    """An image, uint8 (100, 150, 3), with its labels."""

    image: np.ndarray
    scene: Scene
    source: str = ""  # the file that the image comes from


class Orders(NamedTuple):
    """The changes of B images as tensors; numbers of images count the run's views.

    Attributes:
        images: int64 (B,), their numbers.
        pasted: int64 (K,), places in the batch of those that get a kart.
        donors: int64 (K,), numbers of the images that the karts come from.
        karts, boxes: float32 (K, 4), where the karts are there, and where they go.
        opacity: uint8 (K, 100, 150), of the karts where they go.
        relit: float32 (K,), factors on their brightness.
        cropped: int64 (C,), places of those that are cut out.
        windows: float32 (C, 4), what is cut out.
        mirrored: bool (B,).
        gains, contrast, shift: float32 (B, 3), (B,), (B,); see `draws.Light`.
    """

    images: torch.Tensor
    pasted: torch.Tensor
    donors: torch.Tensor
    karts: torch.Tensor
    boxes: torch.Tensor
    opacity: torch.Tensor
    relit: torch.Tensor
    cropped: torch.Tensor
    windows: torch.Tensor
    mirrored: torch.Tensor
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
    pastes = [(place, change.paste) for place, change in enumerate(changes) if change.paste]
    windows = [(place, change.window) for place, change in enumerate(changes) if change.window]
    opacity = np.zeros((len(pastes), HEIGHT, WIDTH), np.uint8)
    relit = []
    for layer, (place, (donor, kart, box)) in zip(opacity, pastes, strict=True):
        x1, y1, x2, y2 = box
        shown = views[donors[donor]].image
        shape = Image.fromarray(_outline(shown, kart.box))
        layer[y1:y2, x1:x2] = np.asarray(
            shape.resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)
        )
        relit.append(_relighting(views[numbers[place]].image, box, shown, kart.box))
    return Orders(
        _whole(numbers),
        _whole([place for place, _ in pastes]),
        _whole([donors[paste.donor] for _, paste in pastes]),
        _floats([paste.kart.box for _, paste in pastes]).reshape(-1, 4),
        _floats([paste.box for _, paste in pastes]).reshape(-1, 4),
        torch.from_numpy(opacity),
        _floats(relit),
        _whole([place for place, _ in windows]),
        _floats([window for _, window in windows]).reshape(-1, 4),
        torch.tensor([change.mirror for change in changes]),
        *map(_floats, zip(*(change.light for change in changes), strict=True)),
    )


def _whole(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _floats(values: Sequence[Any]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


# --- what depends on the pixels of a pasted kart ---


def _outline(image: np.ndarray, box: Box) -> np.ndarray:
    """Estimate the opacity of a kart in its box, as labels have no outlines: uint8 (height, width).

    A kart fills most of its box except the corners, and its colours differ from those around it.
    """
    x1, y1, x2, y2 = box
    inside = image[y1:y2, x1:x2].astype(np.float32)
    nearby = _around(image, box).astype(np.float32)
    nearby = nearby[:: max(len(nearby) // 48, 1)]
    unlike = np.linalg.norm(inside[:, :, None] - nearby, axis=-1).min(axis=-1)
    unlike = np.clip((unlike - 10) / 20, 0, 1)
    # Close the holes where the kart has the colours around it, then smooth.
    guess = Image.fromarray((unlike * 255).astype(np.uint8))
    for close in (ImageFilter.MaxFilter(5), ImageFilter.MinFilter(5), ImageFilter.BoxBlur(1)):
        guess = guess.filter(close)
    u = np.abs(np.linspace(-1, 1, x2 - x1))[None, :]
    v = np.abs(np.linspace(-1, 1, y2 - y1))[:, None]
    rounded = np.clip((1.15 - (u**3 + v**3)) * 4, 0, 1)
    middle = np.clip((0.45 - (u**2 + v**2)) * 4, 0, 1)
    opacity = rounded * np.maximum(np.asarray(guess) / 255, middle)
    return (opacity * 255).astype(np.uint8)


def _relighting(image: np.ndarray, box: Box, donor: np.ndarray, place: Box) -> float:
    """The factor on the brightness of a kart at `place` of the donor that is pasted into `box`."""
    light = _around(image, box).mean() / max(_around(donor, place).mean(), 1)
    return float(np.clip(light, 1 / MAX_RELIGHTING, MAX_RELIGHTING))


def _around(image: np.ndarray, box: Box) -> np.ndarray:
    """Pixels around a box, in a margin of a quarter of its size: uint8 (N, 3), at least one."""
    x1, y1, x2, y2 = box
    margin = max(2, (x2 - x1) // 4, (y2 - y1) // 4)
    top, left = max(y1 - margin, 0), max(x1 - margin, 0)
    wide = image[top : y2 + margin, left : x2 + margin]
    outside = np.ones(wide.shape[:2], dtype=bool)
    outside[y1 - top : y2 - top, x1 - left : x2 - left] = False
    return wide[outside] if outside.any() else wide.reshape(-1, 3)


# --- the pixels ---


class Images:
    """The images of a run; those of a GPU run lie in the GPU's memory, 45 kB each.

    Args:
        views: whose images these are.
        side: of the squares that the model takes.
        device: of torch.
    """

    def __init__(self, views: Sequence[View], side: int, device: str) -> None:
        self._views, self._all = views, None
        if device != "cpu":
            self._all = self._stacked(range(len(views))).to(device)
        zero = torch.zeros(1, device=device)
        self._to_square = [
            weights(zero, zero + size / side, side, size, triangle) for size in (WIDTH, HEIGHT)
        ]

    def _stacked(self, numbers: Sequence[int]) -> torch.Tensor:
        images = np.stack([self._views[number].image for number in numbers])
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def _taken(self, numbers: torch.Tensor) -> torch.Tensor:
        """Images by number: float32 (N, 3, 100, 150)."""
        taken = self._stacked(numbers.tolist()) if self._all is None else self._all[numbers]
        return taken.float()

    def squares(self, asked: Orders) -> torch.Tensor:
        """The images of a batch after their changes: uint8 (B, side, side, 3).

        Args:
            asked: on the same device.
        """
        return resample(self.changed(asked), *self._to_square).permute(0, 2, 3, 1).byte()

    def changed(self, asked: Orders) -> torch.Tensor:
        """The images of a batch in their own size: float32 (B, 3, 100, 150), whole numbers."""
        pixels = self._taken(asked.images)
        if len(asked.pasted):
            pixels[asked.pasted] = self._with_karts(pixels[asked.pasted], asked)
        if len(asked.cropped):
            left, top, right, bottom = asked.windows.unbind(1)
            across = weights(left, (right - left) / WIDTH, WIDTH, WIDTH, cubic)
            down = weights(top, (bottom - top) / HEIGHT, HEIGHT, HEIGHT, cubic)
            pixels[asked.cropped] = resample(pixels[asked.cropped], across, down)
        pixels = torch.where(asked.mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
        mean = pixels.mean((1, 2, 3), keepdim=True)
        contrast, shift = (part.view(-1, 1, 1, 1) for part in (asked.contrast, asked.shift))
        gains = asked.gains.view(-1, 3, 1, 1)
        # `draws.Light` as one factor and one summand.
        offset = (mean - mean * contrast + shift) * gains
        return pixels.mul_(contrast * gains).add_(offset).clamp_(0, 255).floor_()

    def _with_karts(self, pixels: torch.Tensor, asked: Orders) -> torch.Tensor:
        """These images with a kart each."""
        x1, y1, x2, y2 = asked.karts.unbind(1)
        left, top, right, bottom = asked.boxes.unbind(1)
        wide, high = (x2 - x1) / (right - left), (y2 - y1) / (bottom - top)
        across = weights(x1 - left * wide, wide, WIDTH, WIDTH, cubic)
        down = weights(y1 - top * high, high, HEIGHT, HEIGHT, cubic)
        karts = resample(self._taken(asked.donors), across, down)
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
        kernel: `cubic` or `triangle`; it is widened where the image is made smaller.
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
    """Images resized by `weights`, first across and then down, rounded after each as in Pillow.

    Args:
        pixels: float32 (N, 3, height, width).
        across, down: (N, to, width) and (N, to, height), or one for all images.
    """
    wide = (pixels.flatten(1, 2) @ across.mT).round_().clamp_(0, 255)
    return (down.unsqueeze(1) @ wide.unflatten(1, (3, -1))).round_().clamp_(0, 255)
