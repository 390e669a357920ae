"""Augmentations: from (picture, scene) to (picture, scene).

The answers are never touched: the one labelling rule makes them again from the new scene.
A picture is a uint8 array (100, 150, 3). Pure, but for the random generator that is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ..labels.scene import MIN_BOX_SIDE, PICTURE_SIZE, Kart, Scene, make_scene, mirrored

WIDTH, HEIGHT = PICTURE_SIZE
MAX_ENLARGEMENT = 1.5  # of a pasted kart; more would give it away by its blur
MAX_RELIGHTING = 1.6  # of a pasted kart
CHANCES = {"paste": 0.3, "crop": 0.7, "mirror": 0.5, "jitter": 1.0}  # in this order


class View(NamedTuple):
    """A picture with its labels."""

    picture: np.ndarray
    scene: Scene
    source: str = ""  # the file that the picture comes from


def augmented(
    view: View, donors: Sequence[View], rng: random.Random, which: Collection[str] = tuple(CHANCES)
) -> View:
    """The view after a draw of the augmentations.

    Args:
        donors: views with karts, to paste karts from.
        which: names from CHANCES; the others are left out.
    """
    for name, chance in CHANCES.items():
        if rng.random() >= chance or name not in which:
            continue
        if name == "paste":
            view = paste_any(view, donors, rng) if donors else view
        elif name == "mirror":
            view = mirror(view)
        else:
            view = {"crop": crop, "jitter": jitter}[name](view, rng)
    return view


def mirror(view: View) -> View:
    """Swap left and right."""
    return view._replace(picture=view.picture[:, ::-1], scene=mirrored(view.scene))


def crop(view: View, rng: random.Random, smallest: float = 0.75) -> View:
    """Cut out a random window of the picture's shape and enlarge it to the whole picture.

    Args:
        smallest: the window's least share of each side.
    """
    share = rng.uniform(smallest, 1)
    width, height = WIDTH * share, HEIGHT * share
    left, top = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
    window = (left, top, left + width, top + height)
    picture = Image.fromarray(view.picture).resize(PICTURE_SIZE, Image.Resampling.BICUBIC, window)
    karts = []
    for name, (x1, y1, x2, y2) in view.scene.karts:
        box = (
            int(max(x1 - left, 0) / share),
            int(max(y1 - top, 0) / share),
            int(min((x2 - left) / share, WIDTH)),
            int(min((y2 - top) / share, HEIGHT)),
        )
        if min(box[2] - box[0], box[3] - box[1]) >= MIN_BOX_SIDE:
            karts.append(Kart(name, box))
    scene = make_scene(view.scene.track, tuple(karts))
    return view._replace(picture=np.asarray(picture), scene=scene)


def jitter(view: View, rng: random.Random, strength: float = 0.2) -> View:
    """Change brightness, contrast and the balance of the colours."""
    picture = view.picture.astype(np.float32)
    gains = np.array([rng.uniform(1 - strength / 2, 1 + strength / 2) for _ in range(3)])
    mean = picture.mean()
    contrast = rng.uniform(1 - strength, 1 + strength)
    shift = rng.uniform(-strength, strength) * 64
    picture = ((picture - mean) * contrast + mean + shift) * gains
    return view._replace(picture=picture.clip(0, 255).astype(np.uint8))


def paste(view: View, donor: View, kart: Kart, box: tuple[int, int, int, int]) -> View:
    """Place `kart` of the donor's picture at `box` of the view, on a track it may never have seen.

    Only boxes are known: the outline is guessed (`_outline`). The kart takes on the brightness of
    its new surroundings.
    The view comes back unchanged where the kart is in it already or where the pasted kart
    would hide another one (or the other way round) by more than a third.
    """
    hidden = max((_overlap(box, other.box) for other in view.scene.karts), default=0)
    if hidden > 1 / 3 or kart.name in {other.name for other in view.scene.karts}:
        return view
    x1, y1, x2, y2 = box
    size = (x2 - x1, y2 - y1)
    outline = Image.fromarray((_outline(donor.picture, kart.box) * 255).astype(np.uint8))
    opacity = np.asarray(outline.resize(size, Image.Resampling.BILINEAR))[..., None] / 255
    cut = Image.fromarray(donor.picture).resize(size, Image.Resampling.BICUBIC, kart.box)
    light = _around(view.picture, box).mean() / max(_around(donor.picture, kart.box).mean(), 1)
    cut = np.asarray(cut) * np.clip(light, 1 / MAX_RELIGHTING, MAX_RELIGHTING)
    picture = view.picture.copy()
    place = picture[y1:y2, x1:x2]
    place[:] = (cut * opacity + place * (1 - opacity)).clip(0, 255).astype(np.uint8)
    scene = make_scene(view.scene.track, (*view.scene.karts, Kart(kart.name, box)))
    return View(picture, scene, f"{view.source} + {donor.source}")


def paste_any(view: View, donors: Sequence[View], rng: random.Random) -> View:
    """Give the view a donor's kart, at a place and scale where some donor has one.

    A larger kart is likelier to be taken. The view comes back unchanged where the draw does not
    fit: see `paste`, or the kart would be enlarged too much or reach over the picture's edge.
    """
    donor = rng.choice(donors)
    kart = max(donor.scene.karts, key=lambda kart: rng.random() * (kart.box[2] - kart.box[0]))
    place = rng.choice(rng.choice(donors).scene.karts)
    # The place gives the height and where the kart stands, the donor the proportions.
    width, height = kart.box[2] - kart.box[0], kart.box[3] - kart.box[1]
    scale = (place.box[3] - place.box[1]) / height
    x1, y2 = int(place.center[0] - width * scale / 2), place.box[3]
    x2, y1 = x1 + int(width * scale), place.box[1]
    if scale > MAX_ENLARGEMENT or x1 < 0 or x2 > WIDTH or x2 - x1 < MIN_BOX_SIDE:
        return view
    return paste(view, donor, kart, (x1, y1, x2, y2))


def _outline(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """How much each pixel of a box belongs to its kart: float (height, width), 0 to 1.

    A kart fills most of its box but the corners, and has other colours than what is around it.
    """
    x1, y1, x2, y2 = box
    inside = picture[y1:y2, x1:x2].astype(np.float32)
    around = _around(picture, box).astype(np.float32)
    around = around[:: max(len(around) // 48, 1)]
    unlike = np.linalg.norm(inside[:, :, None] - around, axis=-1).min(axis=-1)
    unlike = np.clip((unlike - 10) / 20, 0, 1)
    # Holes are where the kart's colours are those around it: closed, then smoothed.
    guess = Image.fromarray((unlike * 255).astype(np.uint8))
    for close in (ImageFilter.MaxFilter(5), ImageFilter.MinFilter(5), ImageFilter.BoxBlur(1)):
        guess = guess.filter(close)
    u = np.abs(np.linspace(-1, 1, x2 - x1))[None, :]
    v = np.abs(np.linspace(-1, 1, y2 - y1))[:, None]
    rounded = np.clip((1.15 - (u**3 + v**3)) * 4, 0, 1)
    middle = np.clip((0.45 - (u**2 + v**2)) * 4, 0, 1)
    return rounded * np.maximum(np.asarray(guess) / 255, middle)


def _around(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels of the frame about a box, a quarter of its size wide: uint8 (N, 3), never none."""
    x1, y1, x2, y2 = box
    margin = max(2, (x2 - x1) // 4, (y2 - y1) // 4)
    top, left = max(y1 - margin, 0), max(x1 - margin, 0)
    wide = picture[top : y2 + margin, left : x2 + margin]
    outside = np.ones(wide.shape[:2], dtype=bool)
    outside[y1 - top : y2 - top, x1 - left : x2 - left] = False
    return wide[outside] if outside.any() else wide.reshape(-1, 3)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Common area over the smaller box's area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(_area(a), _area(b))


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
