"""What the augmentations draw, and the labels after them; `augment` changes the pixels. Pure.

They change no answers: the labelling rule makes new answers from the new scene. Nothing that is
drawn depends on a pixel.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

from homework.labels.scene import IMAGE_SIZE, MIN_BOX_SIDE, Kart, Scene, make_scene, mirrored

WIDTH, HEIGHT = IMAGE_SIZE
MAX_ENLARGEMENT = 1.5  # of a pasted kart; a larger one would be visibly blurred
CHANCES = {"paste": 0.3, "crop": 0.7, "mirror": 0.5, "jitter": 1.0}  # applied in this order
LEAST_WINDOW = 0.75  # of the image's width
STRENGTH = 0.2  # of a change of light

Box = tuple[int, int, int, int]
Window = tuple[float, float, float, float]


class Paste(NamedTuple):
    """A kart to paste: onto tracks, for example, where the dataset has none."""

    donor: int  # number of the view that shows it, among the donors
    kart: Kart  # as it is labelled there
    box: Box  # where it goes


class Light(NamedTuple):
    """A change of colours from v to ((v - mean) * contrast + mean + shift) * gain."""

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of red, green and blue
    contrast: float = 1.0
    shift: float = 0.0  # of 255


class Changes(NamedTuple):
    """What happens to a view, in this order."""

    scene: Scene  # the labels after all of it
    paste: Paste | None = None
    window: Window | None = None  # x1, y1, x2, y2: cut out, and enlarged to the whole image
    mirror: bool = False
    light: Light = Light()


def draw(
    scene: Scene,
    donors: Sequence[Scene],
    rng: random.Random,
    which: Collection[str] = tuple(CHANCES),
) -> Changes:
    """Random changes of a view.

    Args:
        donors: scenes with karts, to paste karts from.
        which: names from CHANCES; only these are applied.
    """
    changes = Changes(scene)
    for name, chance in CHANCES.items():
        if rng.random() >= chance or name not in which:
            continue
        if name == "paste" and donors:
            changes = _paste(changes, donors, rng)
        elif name == "crop":
            window = draw_window(rng)
            changes = changes._replace(window=window, scene=cropped(changes.scene, window))
        elif name == "mirror":
            changes = changes._replace(mirror=True, scene=mirrored(changes.scene))
        elif name == "jitter":
            changes = changes._replace(light=_draw_light(rng))
    return changes


def draw_window(rng: random.Random) -> Window:
    """A random window of the image's shape, at least LEAST_WINDOW times as wide."""
    share = rng.uniform(LEAST_WINDOW, 1)
    width, height = WIDTH * share, HEIGHT * share
    left, top = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
    return left, top, left + width, top + height


def _draw_light(rng: random.Random) -> Light:
    low, high = 1 - STRENGTH / 2, 1 + STRENGTH / 2
    gains = (rng.uniform(low, high), rng.uniform(low, high), rng.uniform(low, high))
    contrast = rng.uniform(1 - STRENGTH, 1 + STRENGTH)
    return Light(gains, contrast, rng.uniform(-STRENGTH, STRENGTH) * 64)


def cropped(scene: Scene, window: Window) -> Scene:
    """The scene of what a window shows, enlarged to the whole image."""
    left, top, right, _ = window
    share = (right - left) / WIDTH
    karts = []
    for name, (x1, y1, x2, y2) in scene.karts:
        box = (
            int(max(x1 - left, 0) / share),
            int(max(y1 - top, 0) / share),
            int(min((x2 - left) / share, WIDTH)),
            int(min((y2 - top) / share, HEIGHT)),
        )
        if min(box[2] - box[0], box[3] - box[1]) >= MIN_BOX_SIDE:
            karts.append(Kart(name, box))
    return make_scene(scene.track, tuple(karts))


def pasted(scene: Scene, name: str, box: Box) -> Scene | None:
    """The scene with one more kart.

    None if it has that kart already, or if more than a third of a kart would be hidden.
    """
    hidden = max((_overlap(box, other.box) for other in scene.karts), default=0)
    if hidden > 1 / 3 or name in {other.name for other in scene.karts}:
        return None
    return make_scene(scene.track, (*scene.karts, Kart(name, box)))


def _paste(changes: Changes, donors: Sequence[Scene], rng: random.Random) -> Changes:
    """Paste a random kart of a donor, at a place and scale of a kart in another donor.

    Larger karts are likelier. Changes nothing if the kart would be enlarged too much or reach
    over the edge of the image, or as in `pasted`.
    """
    donor = rng.choice(range(len(donors)))
    kart = max(donors[donor].karts, key=lambda kart: rng.random() * (kart.box[2] - kart.box[0]))
    place = rng.choice(rng.choice(donors).karts)
    # The place gives the height and where the kart stands, the donor the proportions.
    width, height = kart.box[2] - kart.box[0], kart.box[3] - kart.box[1]
    scale = (place.box[3] - place.box[1]) / height
    x1, y2 = int(place.center[0] - width * scale / 2), place.box[3]
    x2, y1 = x1 + int(width * scale), place.box[1]
    if scale > MAX_ENLARGEMENT or x1 < 0 or x2 > WIDTH or x2 - x1 < MIN_BOX_SIDE:
        return changes
    scene = pasted(changes.scene, kart.name, (x1, y1, x2, y2))
    if scene is None:
        return changes
    return changes._replace(paste=Paste(donor, kart, (x1, y1, x2, y2)), scene=scene)


def _overlap(a: Box, b: Box) -> float:
    """The part of the smaller of two boxes that the other covers."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return width * height / min((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b))
