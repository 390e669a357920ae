"""Draw a view with its labels, and text below it."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..frames.images import SCALE, enlarge
from ..labels.scene import Kart, Scene, depth_of, side_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in drawn pixels
Color = str | tuple[int, int, int]

FONT_SIZE = 18  # drawn pixels
EGO_COLOR = "#ffd400"
OTHER_COLORS = ("#00e5ff", "#ff7bd5", "#7dff6b", "#ff9d4d", "#b9a2ff", "#ff5f5f", "#4fa3ff")
PLAIN = "#ffffff"
LEGEND: dict[Color, str] = {EGO_COLOR: "ego kart", OTHER_COLORS[0]: "other karts, each in a colour"}


def draw_scene(picture: Image, scene: Scene) -> Image:
    """The image (RGB) enlarged, with its labels drawn over it.

    The ego kart has a thick yellow box; the other karts have their place beside their name.
    A cross marks the centre of the image, to which the ego is the nearest.
    """
    image = enlarge(picture)
    draw_labels(image, scene)
    return image


def draw_labels(image: Image, scene: Scene) -> None:
    """Draw the labels of a scene over its image, which `enlarge` has enlarged."""
    from PIL import ImageDraw

    width, height = image.size
    draw = ImageDraw.Draw(image)
    draw.line((width / 2 - 9, height / 2, width / 2 + 9, height / 2), fill=PLAIN, width=2)
    draw.line((width / 2, height / 2 - 9, width / 2, height / 2 + 9), fill=PLAIN, width=2)
    # The ego last, so that no other box covers its own.
    karts = sorted(scene.karts, key=lambda kart: kart is scene.ego)
    boxes = [_scaled(kart.box) for kart in karts]
    colors = [
        EGO_COLOR if kart is scene.ego else OTHER_COLORS[number % len(OTHER_COLORS)]
        for number, kart in enumerate(karts)
    ]
    for kart, box, color in zip(karts, boxes, colors, strict=True):
        draw.rectangle(box, outline=color, width=5 if kart is scene.ego else 3)
    labels: list[Box] = []
    _label(draw, f"track: {scene.track}", (0, height, 0, height), PLAIN, labels, boxes)
    for kart, box, color in reversed([*zip(karts, boxes, colors, strict=True)]):
        _label(draw, _caption(kart, scene), box, color, labels, boxes)


def with_caption(image: Image, lines: Sequence[str], legend: Mapping[Color, str]) -> Image:
    """The image with lines of text below it, and a legend: colour -> what it stands for."""
    from PIL import Image, ImageDraw, ImageFont

    font, step = ImageFont.load_default(FONT_SIZE), FONT_SIZE + 10
    measure = ImageDraw.Draw(image).textlength
    letters = (image.width - 20) // (FONT_SIZE // 2)
    lines = [part for line in lines for part in textwrap.wrap(line, letters) or [""]]
    below = step * (len(lines) + 1) + 12
    whole = Image.new("RGB", (image.width, image.height + below), "#000000")
    whole.paste(image)
    draw, left, top = ImageDraw.Draw(whole), 10, image.height + 8
    for line in lines:
        draw.text((left, top), line, fill=PLAIN, font=font)
        top += step
    for color, text in legend.items():
        draw.rectangle((left, top + 2, left + FONT_SIZE, top + 2 + FONT_SIZE), fill=color)
        draw.text((left + FONT_SIZE + 8, top), text, fill=PLAIN, font=font)
        left += FONT_SIZE + 8 + measure(text, font) + 24
    return whole


def _scaled(box: Box) -> Box:
    left, top, right, bottom = box
    return left * SCALE, top * SCALE, right * SCALE, bottom * SCALE


def _caption(kart: Kart, scene: Scene) -> str:
    if scene.ego is None or kart is scene.ego:
        return f"{kart.name} (ego)"
    return f"{kart.name}: {depth_of(kart, scene.ego)} and {side_of(kart, scene.ego)}"


def _label(
    draw: ImageDraw, text: str, box: Box, color: str, labels: list[Box], boxes: list[Box]
) -> None:
    """Write `text` above `box` or nearby, clear of other labels and, if possible, of boxes."""
    from PIL import ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    image_width, image_height = draw.im.size
    width, height = draw.textlength(text, font) + 8, FONT_SIZE + 6
    left = max(0, min(box[0], image_width - width))
    above = max(0, min(box[1], image_height) - height)
    tops = sorted(range(0, image_height - height + 1, 2), key=lambda top: abs(top - above))
    places = [(left, top, left + width, top + height) for top in tops]
    place = next((p for p in places if not _overlaps(p, labels + boxes)), None)
    place = place or next((p for p in places if not _overlaps(p, labels)), places[0])
    labels.append(place)
    if place[3] < box[1] or place[1] > box[3]:  # moved away: a line leads to the box
        draw.line((left + 4, place[3] if place[3] < box[1] else place[1], box[0], box[1]), color, 1)
    draw.rectangle(place, fill="#000000", outline=color)
    draw.text((left + 4, place[1] + 2), text, fill=color, font=font)


def _overlaps(box: Box, others: list[Box]) -> bool:
    x1, y1, x2, y2 = box
    return any(
        x1 < right and left < x2 and y1 < low and high < y2 for left, high, right, low in others
    )


def check_image(file: Path) -> None:
    """Raise an InputError, before any work, unless an image's name ends in .png or .jpg."""
    if file.suffix.lower() not in (".png", ".jpg"):
        raise InputError(f"--save: {file} is neither .png nor .jpg; give such a name")


def has_display() -> bool:
    """Whether matplotlib can open a window: there is a screen and a toolkit for it."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    import matplotlib

    return matplotlib.get_backend().lower() != "agg"


def show(image: Image, title: str) -> None:
    """Show the image in a window until the user closes it."""
    import matplotlib.pyplot as plt

    plt.figure(title, figsize=(9, 6))
    plt.imshow(image)
    plt.axis("off")
    plt.tight_layout()
    plt.show()
