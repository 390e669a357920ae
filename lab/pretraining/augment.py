"""Augmentations: from (picture, scene) to (picture, scene).

They change no answers: the labelling rule makes new answers from the new scene.
A picture is a uint8 array (100, 150, 3). Pure, apart from the random generator that callers give.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from homework.labels.scene import MIN_BOX_SIDE, PICTURE_SIZE, Kart, Scene, make_scene, mirrored

WIDTH, HEIGHT = PICTURE_SIZE
MAX_ENLARGEMENT = 1.5  # of a pasted kart; a larger one would be visibly blurred
MAX_RELIGHTING = 1.6  # factor on the brightness of a pasted kart
CHANCES = {"paste": 0.3, "crop": 0.7, "mirror": 0.5, "jitter": 1.0}  # applied in this order


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
        smallest: the least width of the window, as a share of the width of the picture.
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
    """Change brightness, contrast and colour balance."""
    gains = np.array([rng.uniform(1 - strength / 2, 1 + strength / 2) for _ in range(3)])
    mean = float(view.picture.mean())
    contrast = rng.uniform(1 - strength, 1 + strength)
    shift = rng.uniform(-strength, strength) * 64
    # What a value becomes depends on its channel alone: (3, 256).
    values = (np.arange(256) - mean) * contrast + mean + shift
    table = (values * gains[:, None]).clip(0, 255).astype(np.uint8)
    channels = [table[channel][view.picture[..., channel]] for channel in range(3)]
    return view._replace(picture=np.stack(channels, axis=-1))


def paste(view: View, donor: View, kart: Kart, box: tuple[int, int, int, int]) -> View:
    """Paste `kart` from the picture of the donor into `box` of the view.

    This shows karts on tracks where the dataset has none. The labels have boxes only, so
    `_outline` estimates the outline. The kart gets the brightness of its new surroundings.
    Returns the view unchanged if it has that kart already, or if more than a third of a kart
    would be hidden.
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
    """Paste a random kart of a donor, at a place and scale of a kart in another donor.

    Larger karts are likelier. Returns the view unchanged if the kart would be enlarged too much
    or reach over the edge of the picture, or as in `paste`.
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
    """Estimate the opacity of a kart in its box: float (height, width), 0 to 1.

    A kart fills most of its box except the corners, and its colours differ from those around it.
    """
    x1, y1, x2, y2 = box
    inside = picture[y1:y2, x1:x2].astype(np.float32)
    around = _around(picture, box).astype(np.float32)
    around = around[:: max(len(around) // 48, 1)]
    unlike = np.linalg.norm(inside[:, :, None] - around, axis=-1).min(axis=-1)
    unlike = np.clip((unlike - 10) / 20, 0, 1)
    # Close the holes where the kart has the colours around it, then smooth.
    guess = Image.fromarray((unlike * 255).astype(np.uint8))
    for close in (ImageFilter.MaxFilter(5), ImageFilter.MinFilter(5), ImageFilter.BoxBlur(1)):
        guess = guess.filter(close)
    u = np.abs(np.linspace(-1, 1, x2 - x1))[None, :]
    v = np.abs(np.linspace(-1, 1, y2 - y1))[:, None]
    rounded = np.clip((1.15 - (u**3 + v**3)) * 4, 0, 1)
    middle = np.clip((0.45 - (u**2 + v**2)) * 4, 0, 1)
    return rounded * np.maximum(np.asarray(guess) / 255, middle)


def _around(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels around a box, in a margin of a quarter of its size: uint8 (N, 3), at least one."""
    x1, y1, x2, y2 = box
    margin = max(2, (x2 - x1) // 4, (y2 - y1) // 4)
    top, left = max(y1 - margin, 0), max(x1 - margin, 0)
    wide = picture[top : y2 + margin, left : x2 + margin]
    outside = np.ones(wide.shape[:2], dtype=bool)
    outside[y1 - top : y2 - top, x1 - left : x2 - left] = False
    return wide[outside] if outside.any() else wide.reshape(-1, 3)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Common area over the area of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(_area(a), _area(b))


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
