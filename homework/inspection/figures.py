"""Draw a view with its labels; the figures of a split; the curves of a training."""

from __future__ import annotations

import math
import os
import random
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import Opener, atomic_write
from ..frames.images import SCALE, enlarge, open_image, save_image
from ..labels.questions import KINDS
from ..labels.scene import IMAGE_SIZE, Kart, Scene, depth_of, side_of
from .survey import Survey, answers_by_kind, most_frequent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in drawn pixels
Color = str | tuple[int, int, int]

FONT_SIZE = 18  # drawn pixels
EGO_COLOR = "#ffd400"
OTHER_COLORS = ("#00e5ff", "#ff7bd5", "#7dff6b", "#ff9d4d", "#b9a2ff", "#ff5f5f", "#4fa3ff")
PLAIN = "#ffffff"
LEGEND: dict[Color, str] = {EGO_COLOR: "ego kart", OTHER_COLORS[0]: "other karts, each in a colour"}
COLUMNS, ROWS = 8, 25  # views of a track, and tracks, on the contact sheet
MARGIN, LABEL = 4, 170  # pixels between its views, and for the name of a track
MOST_ANSWERS = 21  # bars of a histogram

CURVES = "curves.png"  # the file beside an adapter
HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out images


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
    letters = max(8, (image.width - 20) * 2 // FONT_SIZE)  # half as wide as high, on average
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


# --- figures of a split ---


def save_images(found: Survey, folder: Path, open_file: Opener = atomic_write) -> list[Path]:
    """Write contact_sheet.png, answers.png and line_ups.png of a split."""
    figures = {
        "contact_sheet": contact_sheet(found),
        "answers": answers_figure(found),
        "line_ups": line_ups_figure(found),
    }
    for name, figure in figures.items():
        save_image(figure, folder / f"{name}.png", open_file)
    return [folder / f"{name}.png" for name in figures]


def contact_sheet(found: Survey) -> Image:
    """A row of views with their boxes for each track, drawn at random with a fixed seed."""
    from PIL import Image, ImageDraw, ImageFont

    views = defaultdict(list)
    order = random.Random(0).sample(found.views, len(found.views))
    for name, scene in sorted(order, key=lambda view: not view[1].karts):  # those with karts first
        if len(views[scene.track]) < COLUMNS:
            views[scene.track].append((name, scene))
    tracks = sorted(views)[:ROWS]
    width, height = IMAGE_SIZE[0] + MARGIN, IMAGE_SIZE[1] + MARGIN
    sheet = Image.new("RGB", (LABEL + COLUMNS * width, len(tracks) * height), "#15181b")
    font = ImageFont.load_default(FONT_SIZE - 4)
    for row, track in enumerate(tracks):
        place = (MARGIN * 2, row * height + height // 2 - 8)
        ImageDraw.Draw(sheet).text(place, track, PLAIN, font)
        for column, (name, scene) in enumerate(views[track]):
            try:
                image = open_image(found.split.folder / name).resize(IMAGE_SIZE)
            except InputError:
                continue  # the report names it
            for kart in sorted(scene.karts, key=lambda kart: kart is scene.ego):
                color = EGO_COLOR if kart is scene.ego else PLAIN
                ImageDraw.Draw(image).rectangle(kart.box, outline=color)
            sheet.paste(image, (LABEL + column * width, row * height))
    return sheet


def answers_figure(found: Survey) -> Figure:
    """A histogram of the answers to each kind of question."""
    from matplotlib.figure import Figure

    answers = answers_by_kind(found.pairs)
    figure = Figure(figsize=(15, 5.5), layout="constrained")
    for axes, (kind, counter) in zip(figure.subplots(1, len(KINDS)), answers.items(), strict=True):
        names, numbers = (
            zip(*most_frequent(counter, MOST_ANSWERS), strict=True) if counter else ((), ())
        )
        axes.barh(names, numbers)
        axes.invert_yaxis()
        axes.set_title(f"{kind}: {counter.total():,}")
    return figure


def line_ups_figure(found: Survey) -> Figure:
    """A heat map: the number of views that show a kart on a track; nothing where there is none."""
    from matplotlib.figure import Figure

    tracks = sorted({track for track, _ in found.line_ups})
    karts = sorted({kart for _, line_up in found.line_ups for kart in line_up})
    seen = found.seen
    figure = Figure(figsize=(3 + 0.42 * len(karts), 2 + 0.3 * len(tracks)), layout="constrained")
    axes = figure.subplots()
    axes.set_xticks(range(len(karts)), karts, rotation=90)
    axes.set_yticks(range(len(tracks)), tracks)
    if karts:
        table = [[seen[track, kart] or math.nan for kart in karts] for track in tracks]
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1.5 * max(seen.values(), default=1))
    for row, track in enumerate(tracks):
        for column, kart in enumerate(karts):
            if number := seen[track, kart]:
                axes.text(column, row, str(number), ha="center", va="center", fontsize=6)
    never = len(tracks) * len(karts) - len(seen)
    axes.set_title(f"views that show a kart on a track; {never} of the pairs are in none")
    return figure


# --- the curves of a training ---


def curves(log: Iterable[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The curves of a training: title of a chart -> name of a line -> (step, value).

    Args:
        log: a dict per record, with "step" and some of "loss", "accuracy", "eval_loss",
            "eval_accuracy" and, for each kind, "held-out <kind>".
    """
    records = list(log)
    both = {"": "training", "eval_": "held-out train frames"}
    charts = {
        title: {f"{start}{title}": name for start, name in both.items()}
        for title in ("loss", "accuracy")
    }
    kinds = dict.fromkeys(
        name for record in records for name in record if name.startswith(HELD_OUT)
    )
    charts["held-out accuracy by kind"] = {name: name.removeprefix(HELD_OUT) for name in kinds}
    return {
        title: {
            name: points
            for field, name in lines.items()
            if (points := [(r["step"], r[field]) for r in records if finite(r.get(field))])
        }
        for title, lines in charts.items()
    }


def finite(value: object) -> bool:
    """Whether JSON has this number; it has no infinity and no NaN."""
    return isinstance(value, int | float) and math.isfinite(value)


def save_curves(log: list[dict[str, float]], path: Path) -> None:
    """Draw `curves(log)`: loss, accuracy, and held-out accuracy by kind of question."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, 3), curves(log).items(), strict=True):
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    save_image(figure, path, dpi=120)
