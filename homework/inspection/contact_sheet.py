"""Sheets of drawn views: of a split, and of one frame.

python -m homework.generate_qa inspect --data_dir data/train --pictures out
python -m homework.generate_qa check --info_file F --view_index 0 --contact_sheet out.png

Every sheet raises an InputError if a file is wrong or there is no view to show.
"""

from __future__ import annotations

import random
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import Opener, atomic_write
from ..frames.advice import how_to_repair
from ..frames.pictures import open_picture, save_picture
from ..frames.split import (
    Skipped,
    Split,
    picture_name,
    read_frames,
    read_info,
)
from ..labels.scene import PICTURE_SIZE, AmbiguousView, Scene, view_scene
from ..labels.vocabulary import TRACKS
from .draw import EGO_COLOR, FONT_SIZE, PLAIN, draw_scene
from .figures import answers_figure, line_ups_figure

if TYPE_CHECKING:
    from PIL.Image import Image

    from .survey import Survey

COLUMNS = 8  # views of a track on the contact sheet
ROWS = 25  # tracks on it
MARGIN = 4  # pixels between its views
LABEL = 170  # pixels for the name of a track
VIEW_COLUMNS = 5  # of the sheet of a frame


def save_pictures(
    split: Split, found: Survey, folder: Path, open_file: Opener = atomic_write
) -> list[Path]:
    """Write contact_sheet.png, answers.png and line_ups.png of a split to `folder`.

    Args:
        found: the survey of the split.
        open_file: opens the files; see `common.outputs`.

    Returns:
        The files written.
    """
    files = [folder / f"{name}.png" for name in ("contact_sheet", "answers", "line_ups")]
    save_picture(contact_sheet(split), files[0], open_file)
    save_picture(answers_figure(found), files[1], open_file, dpi=110)
    save_picture(line_ups_figure(found), files[2], open_file, dpi=110)
    return files


def contact_sheet(split: Split, seed: int = 0) -> Image:
    """A row of labelled views for each track, from different frames if there are enough.

    Args:
        seed: seed of the random choice of views.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = sorted(_draw_views(split, seed).items())[:ROWS]
    if not rows:
        raise InputError(f"{split.folder}: no view with a picture to show")
    width, height = PICTURE_SIZE
    size = (LABEL + COLUMNS * (width + MARGIN), len(rows) * (height + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, "#15181b")
    font = ImageFont.load_default(FONT_SIZE - 4)
    for row, (track, views) in enumerate(rows):
        top = MARGIN + row * (height + MARGIN)
        ImageDraw.Draw(sheet).text((MARGIN * 2, top + height // 2 - 8), track, PLAIN, font)
        for column, (picture, scene) in enumerate(views):
            image = _boxed(open_picture(split.folder / picture).resize(PICTURE_SIZE), scene)
            sheet.paste(image, (LABEL + column * (width + MARGIN), top))
    return sheet


def frame_sheet(info_file: Path) -> Image:
    """The labelled views of a frame that have a picture, in two rows."""
    info = read_info(info_file)
    tiles = []
    for view in range(len(info["detections"])):
        picture = info_file.with_name(picture_name(info_file.name, view))
        if picture.is_file():
            try:
                scene = view_scene(info, view)
            except AmbiguousView:
                continue  # it has no labels to draw
            except ValueError as error:
                raise InputError(f"{info_file}: {error}; {how_to_repair(info_file)}") from None
            tiles.append(draw_scene(open_picture(picture), scene))
    if not tiles:
        raise InputError(f"{info_file}: none of its views has a picture beside it and clear labels")
    return tiled(tiles)


def tiled(tiles: list[Image]) -> Image:
    """Drawn views of equal size, at half size, in rows of VIEW_COLUMNS."""
    from PIL import Image

    width, height = tiles[0].width // 2, tiles[0].height // 2
    rows = -(-len(tiles) // VIEW_COLUMNS)
    columns = min(len(tiles), VIEW_COLUMNS)
    sheet = Image.new("RGB", (columns * (width + MARGIN), rows * (height + MARGIN)), "#15181b")
    for index, tile in enumerate(tiles):
        place = (index % VIEW_COLUMNS * (width + MARGIN), index // VIEW_COLUMNS * (height + MARGIN))
        sheet.paste(tile.resize((width, height), Image.Resampling.LANCZOS), place)
    return sheet


def _draw_views(split: Split, seed: int) -> dict[str, list[tuple[str, Scene]]]:
    """Views to show per track: views with karts first, from different frames if possible.

    Reads only as many frames as it takes to fill every row.
    """
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
