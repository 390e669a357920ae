"""Draw views with their labels: one enlarged, all of a frame, or a contact sheet of a split."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..frames.images import SCALE, enlarge, open_image
from ..frames.split import Skipped, Split, how_to_repair, image_name, read_frames, read_info
from ..labels.questions import TRACKS
from ..labels.scene import IMAGE_SIZE, AmbiguousView, Kart, Scene, depth_of, side_of, view_scene

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in drawn pixels
Color = str | tuple[int, int, int]

FONT_SIZE = 18  # drawn pixels
EGO_COLOR = "#ffd400"
OTHER_COLORS = ("#00e5ff", "#ff7bd5", "#7dff6b", "#ff9d4d", "#b9a2ff", "#ff5f5f", "#4fa3ff")
PLAIN = "#ffffff"
BACKGROUND = "#15181b"
LEGEND: dict[Color, str] = {EGO_COLOR: "ego kart", OTHER_COLORS[0]: "other karts, each in a colour"}
COLUMNS = 8  # views of a track on the contact sheet
ROWS = 25  # tracks on it
MARGIN = 4  # pixels between its views
LABEL = 170  # pixels for the name of a track
VIEW_COLUMNS = 5  # of the sheet of a frame


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
    lines = [part for line in lines for part in _wrapped(line, image.width - 20, font, measure)]
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


def _wrapped(line: str, width: float, font, measure: Callable[..., float]) -> list[str]:
    """The line in parts that fit; a word that does not fit alone is cut."""
    parts = [""]
    for word in line.split():
        longer = f"{parts[-1]} {word}".lstrip()
        if measure(longer, font) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return [part for part in parts if part] or [""]


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


def contact_sheet(split: Split, seed: int = 0) -> Image:
    """A row of labelled views for each track, drawn at random, of different frames if possible."""
    from PIL import Image, ImageDraw, ImageFont

    rows = sorted(_draw_views(split, seed).items())[:ROWS]
    if not rows:
        raise InputError(f"{split.folder}: no view with an image to show")
    width, height = IMAGE_SIZE
    size = (LABEL + COLUMNS * (width + MARGIN), len(rows) * (height + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, BACKGROUND)
    font = ImageFont.load_default(FONT_SIZE - 4)
    for row, (track, views) in enumerate(rows):
        top = MARGIN + row * (height + MARGIN)
        ImageDraw.Draw(sheet).text((MARGIN * 2, top + height // 2 - 8), track, PLAIN, font)
        for column, (picture, scene) in enumerate(views):
            image = _boxed(open_image(split.folder / picture).resize(IMAGE_SIZE), scene)
            sheet.paste(image, (LABEL + column * (width + MARGIN), top))
    return sheet


def frame_sheet(info_file: Path) -> Image:
    """The labelled views of a frame with an image, in two rows; InputError if there is none."""
    info = read_info(info_file)
    tiles = []
    for view in range(len(info["detections"])):
        picture = info_file.with_name(image_name(info_file.name, view))
        if picture.is_file():
            try:
                scene = view_scene(info, view)
            except AmbiguousView:
                continue  # it has no labels to draw
            except ValueError as error:
                raise InputError(f"{info_file}: {error}; {how_to_repair(info_file)}") from None
            tiles.append(draw_scene(open_image(picture), scene))
    if not tiles:
        raise InputError(f"{info_file}: none of its views has an image beside it and clear labels")
    return tiled(tiles)


def tiled(tiles: list[Image]) -> Image:
    """Drawn views of equal size, at half size, in rows of VIEW_COLUMNS."""
    from PIL import Image

    width, height = tiles[0].width // 2, tiles[0].height // 2
    rows = -(-len(tiles) // VIEW_COLUMNS)
    columns = min(len(tiles), VIEW_COLUMNS)
    sheet = Image.new("RGB", (columns * (width + MARGIN), rows * (height + MARGIN)), BACKGROUND)
    for index, tile in enumerate(tiles):
        place = (index % VIEW_COLUMNS * (width + MARGIN), index // VIEW_COLUMNS * (height + MARGIN))
        sheet.paste(tile.resize((width, height), Image.Resampling.LANCZOS), place)
    return sheet


def _draw_views(split: Split, seed: int) -> dict[str, list[tuple[str, Scene]]]:
    """Views to show per track, those with karts first; reads only the frames that fill the rows."""
    generator = random.Random(seed)
    frames: dict[str, list[list[tuple[str, Scene]]]] = {}
    order = generator.sample(split.info_files, len(split.info_files))
    for frame in read_frames(split, order, Skipped()):
        row = frames.setdefault(str(frame.info.get("track")), [])
        views = [view for view in frame.views if view[1].karts] or frame.views
        if views and len(row) < COLUMNS:
            row.append(generator.sample(views, len(views)))
        if len(frames) >= len(TRACKS) and all(len(row) == COLUMNS for row in frames.values()):
            break
    # The first views of all frames, then their second ones, and so on.
    turns = {track: chain.from_iterable(zip_longest(*row)) for track, row in frames.items() if row}
    return {track: list(islice(filter(None, views), COLUMNS)) for track, views in turns.items()}


def _boxed(picture: Image, scene: Scene) -> Image:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    for kart in sorted(scene.karts, key=lambda kart: kart is scene.ego):
        draw.rectangle(kart.box, outline=EGO_COLOR if kart is scene.ego else PLAIN)
    return picture
