"""Augmentations: from (picture, scene) to (picture, scene), one picture at a time.

They change no answers: the labelling rule makes new answers from the new scene.
A picture is a uint8 array (100, 150, 3). Pure, apart from the random generator that callers give;
what is drawn is in `draws`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from homework.labels.scene import PICTURE_SIZE, Kart, Scene, mirrored

from . import draws
from .draws import CHANCES, Box, Changes, Light, Window

MAX_RELIGHTING = 1.6  # factor on the brightness of a pasted kart


class View(NamedTuple):
    """A picture with its labels."""

    picture: np.ndarray
    scene: Scene
    source: str = ""  # the file that the picture comes from


def augmented(
    view: View, donors: Sequence[View], rng: random.Random, which: Collection[str] = tuple(CHANCES)
) -> View:
    """The view after random augmentations.

    Args:
        donors: views with karts, to paste karts from.
        which: names from CHANCES; only these are applied.
    """
    scenes = [donor.scene for donor in donors]
    return apply(view, draws.draw(view.scene, scenes, rng, which), donors)


def apply(view: View, changes: Changes, donors: Sequence[View]) -> View:
    """The view after these changes.

    Args:
        donors: what `changes.paste` counts.
    """
    if changes.paste:
        donor, kart, box = changes.paste
        view = paste(view, donors[donor], kart, box)
    if changes.window:
        view = _cut_out(view, changes.window)
    if changes.mirror:
        view = mirror(view)
    return _relit(view, changes.light) if changes.light else view


def mirror(view: View) -> View:
    """Swap left and right."""
    return view._replace(picture=view.picture[:, ::-1], scene=mirrored(view.scene))


def crop(view: View, rng: random.Random, smallest: float = 0.75) -> View:
    """Cut out a random window of the picture's shape and enlarge it to the whole picture.

    Args:
        smallest: the least width of the window, as a share of the width of the picture.
    """
    return _cut_out(view, draws.draw_window(rng, smallest))


def _cut_out(view: View, window: Window) -> View:
    picture = Image.fromarray(view.picture).resize(PICTURE_SIZE, Image.Resampling.BICUBIC, window)
    return view._replace(picture=np.asarray(picture), scene=draws.cropped(view.scene, window))


def jitter(view: View, rng: random.Random, strength: float = 0.2) -> View:
    """Change brightness, contrast and colour balance."""
    return _relit(view, draws.draw_light(rng, strength))


def _relit(view: View, light: Light) -> View:
    mean = float(view.picture.mean())
    # What a value becomes depends on its channel alone: (3, 256).
    values = (np.arange(256) - mean) * light.contrast + mean + light.shift
    table = (values * np.array(light.gains)[:, None]).clip(0, 255).astype(np.uint8)
    channels = [table[channel][view.picture[..., channel]] for channel in range(3)]
    return view._replace(picture=np.stack(channels, axis=-1))


def paste(view: View, donor: View, kart: Kart, box: Box) -> View:
    """Paste `kart` from the picture of the donor into `box` of the view.

    This shows karts on tracks where the dataset has none. The labels have boxes only, so
    `outline` estimates the outline. The kart gets the brightness of its new surroundings.
    Returns the view unchanged if it has that kart already, or if more than a third of a kart
    would be hidden.
    """
    scene = draws.pasted(view.scene, kart.name, box)
    if scene is None:
        return view
    x1, y1, x2, y2 = box
    size = (x2 - x1, y2 - y1)
    cut_out = Image.fromarray(outline(donor.picture, kart.box))
    opacity = np.asarray(cut_out.resize(size, Image.Resampling.BILINEAR))[..., None] / 255
    cut = Image.fromarray(donor.picture).resize(size, Image.Resampling.BICUBIC, kart.box)
    cut = np.asarray(cut) * relighting(view.picture, box, donor.picture, kart.box)
    picture = view.picture.copy()
    place = picture[y1:y2, x1:x2]
    place[:] = (cut * opacity + place * (1 - opacity)).clip(0, 255).astype(np.uint8)
    return View(picture, scene, f"{view.source} + {donor.source}")


def outline(picture: np.ndarray, box: Box) -> np.ndarray:
    """Estimate the opacity of a kart in its box: uint8 (height, width).

    A kart fills most of its box except the corners, and its colours differ from those around it.
    """
    x1, y1, x2, y2 = box
    inside = picture[y1:y2, x1:x2].astype(np.float32)
    nearby = _around(picture, box).astype(np.float32)
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


def relighting(picture: np.ndarray, box: Box, donor: np.ndarray, place: Box) -> float:
    """The factor on the brightness of a kart at `place` of the donor that is pasted into `box`."""
    light = _around(picture, box).mean() / max(_around(donor, place).mean(), 1)
    return float(np.clip(light, 1 / MAX_RELIGHTING, MAX_RELIGHTING))


def _around(picture: np.ndarray, box: Box) -> np.ndarray:
    """Pixels around a box, in a margin of a quarter of its size: uint8 (N, 3), at least one."""
    x1, y1, x2, y2 = box
    margin = max(2, (x2 - x1) // 4, (y2 - y1) // 4)
    top, left = max(y1 - margin, 0), max(x1 - margin, 0)
    wide = picture[top : y2 + margin, left : x2 + margin]
    outside = np.ones(wide.shape[:2], dtype=bool)
    outside[y1 - top : y2 - top, x1 - left : x2 - left] = False
    return wide[outside] if outside.any() else wide.reshape(-1, 3)
