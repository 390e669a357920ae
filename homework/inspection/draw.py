"""Draw a view enlarged, its karts boxed and named, the ego kart marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..labels.scene import Kart, Scene, is_front, is_left

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in drawn pixels

SCALE = 6  # drawn pixels per picture pixel: names are legible
FONT_SIZE = 18  # drawn pixels
EGO_COLOR = "#ffd400"
OTHER_COLORS = ("#00e5ff", "#ff7bd5", "#7dff6b", "#ff9d4d", "#b9a2ff", "#ff5f5f", "#4fa3ff")
PLAIN = "#ffffff"


def draw_scene(picture: Image, scene: Scene) -> Image:
    """The picture (RGB) enlarged SCALE times, with what the labels say drawn over it.

    The ego kart's box is thick and yellow; each other kart's name is followed by where it is.
    The cross is the picture's centre, to which the ego is the nearest.
    """
    from PIL import Image, ImageDraw

    width, height = picture.width * SCALE, picture.height * SCALE
    image = picture.resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.line((width / 2 - 9, height / 2, width / 2 + 9, height / 2), fill=PLAIN, width=2)
    draw.line((width / 2, height / 2 - 9, width / 2, height / 2 + 9), fill=PLAIN, width=2)
    # The ego last, so that no other box covers its own.
    karts = sorted(scene.karts, key=lambda kart: kart is scene.ego)
    boxes = [tuple(side * SCALE for side in kart.box) for kart in karts]
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
    return image


def _caption(kart: Kart, scene: Scene) -> str:
    if kart is scene.ego:
        return f"{kart.name} (ego)"
    depth = "front" if is_front(kart, scene.ego) else "back"
    return f"{kart.name}: {depth} and {'left' if is_left(kart, scene.ego) else 'right'}"


def _label(
    draw: ImageDraw, text: str, box: Box, color: str, labels: list[Box], boxes: list[Box]
) -> None:
    """Write `text` above `box`, or near there: off the labels and, if that can be, the boxes."""
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
    if place[3] < box[1] or place[1] > box[3]:  # moved away: a line says whose it is
        draw.line((left + 4, place[3] if place[3] < box[1] else place[1], box[0], box[1]), color, 1)
    draw.rectangle(place, fill="#000000", outline=color)
    draw.text((left + 4, place[1] + 2), text, fill=color, font=font)


def _overlaps(box: Box, others: list[Box]) -> bool:
    x1, y1, x2, y2 = box
    return any(
        x1 < right and left < x2 and y1 < low and high < y2 for left, high, right, low in others
    )
