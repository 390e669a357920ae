"""Figures: contact sheet, answers and line-ups of a split, and the curves of a training."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import Opener, atomic_write
from ..frames.images import open_image, save_image
from ..labels.questions import KINDS
from ..labels.scene import IMAGE_SIZE
from .draw import EGO_COLOR, FONT_SIZE, PLAIN
from .survey import answers_by_kind, most_frequent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from .survey import Survey

COLUMNS, ROWS = 8, 25  # views of a track, and tracks, on the contact sheet
MARGIN, LABEL = 4, 170  # pixels between its views, and for the name of a track
MOST_ANSWERS = 21  # bars of a histogram

CURVES = "curves.png"  # the file beside an adapter
HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out images


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
    for name, scene in random.Random(0).sample(found.views, len(found.views)):
        if scene.karts and len(views[scene.track]) < COLUMNS:
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
