"""How the drawn sample looks: karts and tracks of ours, from simple shapes.

A view is drawn in frame pixels (600x400) and reduced to the picture (150x100), so that edges
are smooth and the boxes of the info file fit. Only `draw_sample` uses this.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from .scene import FRAME_SIZE, KART_CLASS, PICTURE_SIZE

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from .draw_sample import Box, Thing


class KartLook(NamedTuple):
    """Colours of a kart and its driver, and what the driver wears."""

    body: str
    trim: str
    head: str
    top: str  # round, ears, horns, hat or cap


class TrackLook(NamedTuple):
    """Colours of a track and the shape of its skyline."""

    sky: str
    haze: str  # the sky just above the horizon
    ground: str
    road: str
    skyline: str  # peaks, hills, trees, towers or arches
    skyline_color: str


KART_LOOKS = {
    "adiumy": KartLook("#8be03a", "#ffffff", "#2f9e33", "round"),
    "amanda": KartLook("#6a3fb5", "#f2f2f2", "#f2f2f2", "ears"),
    "beastie": KartLook("#f2cf1c", "#222222", "#d1261f", "horns"),
    "emule": KartLook("#1f1f24", "#f08a1d", "#8a8f98", "ears"),
    "gavroche": KartLook("#9c6b3f", "#e0c090", "#f0b48a", "cap"),
    "gnu": KartLook("#c9ccd2", "#c02020", "#5f3f22", "horns"),
    "hexley": KartLook("#2f9fd0", "#f6d02f", "#f08a1d", "round"),
    "kiki": KartLook("#f578bd", "#2fc7c7", "#2fc7c7", "hat"),
    "konqi": KartLook("#f57a14", "#1f7d32", "#2fae44", "cap"),
    "nolok": KartLook("#5a0f18", "#f0e020", "#2f5d34", "horns"),
    "pidgin": KartLook("#c7b3f0", "#5b2a86", "#8a3fd0", "round"),
    "puffy": KartLook("#1a3a8a", "#ffe14d", "#ffe14d", "cap"),
    "sara_the_racer": KartLook("#00a08a", "#ffffff", "#e2541e", "round"),
    "sara_the_wizard": KartLook("#3a5cf0", "#b7d0ff", "#e8b48c", "hat"),
    "suzanne": KartLook("#96e6f5", "#8a4b1e", "#8a4b1e", "ears"),
    "tux": KartLook("#dc1c1c", "#ffffff", "#101014", "round"),
    "wilber": KartLook("#7f8f2a", "#3a3a20", "#c8ad88", "ears"),
    "xue": KartLook("#ffffff", "#e0457b", "#e0457b", "hat"),
}

TRACK_LOOKS = {
    "abyss": TrackLook("#02202c", "#0b5563", "#123c46", "#2a4f63", "arches", "#0a8f96"),
    "black_forest": TrackLook("#7d93a8", "#c4cfd4", "#3c4a2a", "#7a5a3a", "trees", "#1f3a20"),
    "candela_city": TrackLook("#0b1030", "#27306a", "#20264a", "#4a4470", "towers", "#d8902a"),
    "cocoa_temple": TrackLook("#9fb98a", "#d8dfa8", "#4f6b35", "#a07b45", "arches", "#6f6a58"),
    "cornfield_crossing": TrackLook("#a0609f", "#f0a48a", "#b5652a", "#c8541c", "trees", "#a8821c"),
    "fortmagma": TrackLook("#1a0604", "#7a1a08", "#3a100a", "#4a3a38", "peaks", "#e0480c"),
    "gran_paradiso_island": TrackLook(
        "#1f7fe0", "#9fe6ff", "#e0c98a", "#a89f94", "trees", "#1fae6a"
    ),
    "hacienda": TrackLook("#3f9fe8", "#d8efff", "#c98a4a", "#e0b878", "towers", "#f6ead0"),
    "lighthouse": TrackLook("#4f7fb8", "#b8d4ec", "#4f8f4a", "#9a9a94", "towers", "#d83a3a"),
    "minigolf": TrackLook("#8a8a90", "#c4c4c8", "#22a034", "#74d868", "hills", "#5a5a62"),
    "olivermath": TrackLook("#cfc4b0", "#efe8da", "#b8b4a4", "#dcd8c8", "towers", "#4a6fb0"),
    "overworld": TrackLook("#50b0f0", "#d0f0d8", "#8fcf4a", "#d6b06a", "hills", "#3f9a3c"),
    "ravenbridge_mansion": TrackLook(
        "#141a3c", "#3a4a86", "#16284c", "#303e7a", "towers", "#060814"
    ),
    "sandtrack": TrackLook("#6fc0e8", "#e8f2e0", "#e8c860", "#f4e0a0", "peaks", "#d8a21c"),
    "scotland": TrackLook("#5a6068", "#a8b0a8", "#4a5a34", "#5a4a3a", "hills", "#2c3820"),
    "snowmountain": TrackLook("#3f6fb0", "#dbe8f6", "#f0f4fa", "#c8d0dc", "peaks", "#8a94a8"),
    "snowtuxpeak": TrackLook("#081840", "#2f4f9a", "#7f9ad8", "#506ab0", "peaks", "#cfdcf4"),
    "tutorial": TrackLook("#a0dcf8", "#f0fbff", "#9a9a9a", "#64646c", "arches", "#e04a30"),
    "volcano_island": TrackLook("#c0602a", "#f4a860", "#2f2a26", "#58504a", "peaks", "#2a1814"),
    "xr591": TrackLook("#5a0a14", "#b83020", "#a82a18", "#d85a34", "hills", "#f0885a"),
    "zengarden": TrackLook("#9a8fc0", "#e8cfe0", "#6a8a4a", "#b0a890", "arches", "#b02a20"),
}


def picture(
    track: str, karts: list[str], horizon: int, things: list[Thing], rng: random.Random
) -> Image.Image:
    """One view as a 150x100 RGB picture: the track, then the things, far ones first.

    Args:
        horizon: y of the horizon in frame pixels.
        things: with boxes in frame pixels; the track id of a kart is its index in `karts`.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", FRAME_SIZE)
    draw = ImageDraw.Draw(image)
    _draw_track(draw, track, horizon, rng)
    for thing in sorted(things, key=lambda thing: thing.box[3]):
        if thing.class_id == KART_CLASS:
            _draw_kart(draw, thing.box, KART_LOOKS[karts[thing.track_id]], rng.uniform(-0.07, 0.07))
        else:
            _draw_item(draw, thing)
    return image.resize(PICTURE_SIZE, Image.Resampling.BOX)


def _draw_track(draw: ImageDraw.ImageDraw, track: str, horizon: int, rng: random.Random) -> None:
    look = TRACK_LOOKS[track]
    width, height = FRAME_SIZE
    sky, haze = _rgb(look.sky), _rgb(look.haze)
    for y in range(horizon):
        color = tuple(a + (b - a) * y // horizon for a, b in zip(sky, haze, strict=True))
        draw.line((0, y, width, y), fill=color)
    _draw_skyline(draw, track, horizon, shift=rng.randint(-60, 60))
    draw.rectangle((0, horizon, width, height), fill=look.ground)
    for _ in range(40):
        x, y = rng.randint(0, width), rng.randint(horizon + 4, height)
        size = 2 + (y - horizon) // 12
        draw.ellipse((x, y, x + 3 * size, y + size), fill=_shade(look.ground, 0.85))
    bend = rng.randint(-70, 70)
    left, right = 300 + bend - 24, 300 + bend + 24
    draw.polygon([(left, horizon), (right, horizon), (660, height), (-60, height)], fill=look.road)
    for edge, corner in ((left, -60), (right, 660)):
        draw.line((edge, horizon, corner, height), fill=_shade(look.road, 1.3), width=6)


def _draw_skyline(draw: ImageDraw.ImageDraw, track: str, horizon: int, shift: int) -> None:
    look = TRACK_LOOKS[track]
    shapes = random.Random(track)  # the same skyline in every frame of a track
    x = -100 + shift
    while x < FRAME_SIZE[0] + 60:
        w, h = shapes.randint(50, 120), shapes.randint(40, 130)
        color = _shade(look.skyline_color, shapes.uniform(0.75, 1.1))
        top, middle = horizon - h, x + w // 2
        if look.skyline == "peaks":
            draw.polygon([(x - 40, horizon), (middle, top), (x + w + 40, horizon)], fill=color)
        elif look.skyline == "hills":
            draw.ellipse((x - 40, horizon - h // 2, x + w + 40, horizon + h // 2), fill=color)
        elif look.skyline == "trees":
            draw.rectangle((middle - 5, top, middle + 5, horizon), fill=_shade(color, 0.6))
            draw.ellipse((x, top - 10, x + w, top + h * 2 // 3), fill=color)
        elif look.skyline == "towers":
            draw.rectangle((x, top, x + w * 2 // 3, horizon), fill=color)
            for y in range(top + 10, horizon - 10, 24):
                draw.rectangle((x + 8, y, x + 20, y + 10), fill=_shade(look.haze, 1.2))
        else:  # arches
            draw.rectangle((x, top, x + 14, horizon), fill=color)
            draw.rectangle((x + w, top, x + w + 14, horizon), fill=color)
            draw.rectangle((x - 10, top - 12, x + w + 24, top + 4), fill=color)
        x += w + shapes.randint(0, 40)


def _draw_kart(draw: ImageDraw.ImageDraw, box: Box, look: KartLook, turn: float) -> None:
    """A kart seen from behind, filling its box; `turn` moves the driver sideways."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    if min(width, height) < 20:  # far away: under five picture pixels
        draw.rectangle(box, fill=look.body)
        return

    def at(*shares: float) -> list[float]:
        """Shares of the box's width and height, alternating, as frame pixels."""
        return [
            (y1 + share * height) if odd % 2 else (x1 + share * width)
            for odd, share in enumerate(shares)
        ]

    outline = _shade(look.body, 0.45)
    for left in (0.0, 0.74):
        draw.rounded_rectangle(at(left, 0.58, left + 0.26, 1), width / 12, fill="#15151a")
    draw.rounded_rectangle(at(0.12, 0.5, 0.88, 0.9), width / 8, look.body, outline)
    draw.rectangle(at(0.34, 0.62, 0.66, 0.78), fill=look.trim)
    middle = 0.5 + turn
    if look.top == "ears":
        for side in (-0.2, 0.2):
            ear = middle + side
            draw.ellipse(at(ear - 0.11, 0, ear + 0.11, 0.3), fill=_shade(look.head, 0.7))
    elif look.top == "horns":
        for side in (-1, 1):
            ends = (middle + 0.08 * side, 0.25, middle + 0.3 * side, 0, middle + 0.24 * side, 0.3)
            draw.polygon(at(*ends), fill="#f4ead0")
    draw.ellipse(at(middle - 0.23, 0.02, middle + 0.23, 0.56), look.head, _shade(look.head, 0.5))
    if look.top == "hat":
        draw.polygon(at(middle - 0.24, 0.24, middle, 0, middle + 0.24, 0.24), fill=look.body)
        draw.rectangle(at(middle - 0.28, 0.2, middle + 0.28, 0.27), fill=look.trim)
    elif look.top == "cap":
        draw.chord(at(middle - 0.24, 0, middle + 0.24, 0.46), 180, 360, fill=look.body)
        draw.rectangle(at(middle - 0.28, 0.2, middle + 0.28, 0.26), fill=look.trim)


def _draw_item(draw: ImageDraw.ImageDraw, thing: Thing) -> None:
    """A gift box (class 4), a nitro can (5) or a bomb (6)."""
    x1, y1, x2, y2 = thing.box
    middle = (x1 + x2) // 2
    if thing.class_id == 4:
        draw.rectangle(thing.box, fill="#2a9ad8")
        draw.rectangle((middle - 2, y1, middle + 2, y2), fill="#ffffff")
    elif thing.class_id == 5:
        draw.rectangle((middle - (x2 - x1) // 5, y1, middle + (x2 - x1) // 5, y2), fill="#30e070")
    else:
        draw.ellipse(thing.box, fill="#202024")


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _shade(color: str, factor: float) -> str:
    """The color darker (factor below 1) or lighter."""
    return "#" + "".join(f"{min(255, int(part * factor)):02x}" for part in _rgb(color))
