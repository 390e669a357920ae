"""The labelling rule: the karts that a view shows, the ego kart among them, and the track.

Pure: no files, no torch, no command line.
The rule reproduces the published answers of the course; do not improve on it.

    info JSON --view_scene--> Scene --questions.pairs--> question/answer pairs
"""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import Any, NamedTuple

FRAME_SIZE = (600, 400)  # width, height of the frame that the detection boxes refer to
IMAGE_SIZE = (150, 100)  # width, height of the image, and of every box in a Scene
MIN_BOX_SIDE = 5  # in image pixels; smaller karts are not counted
SIZES = (5, 8, 12, 18, 30)  # lower bounds of the classes of kart size, in image pixels
MAX_NAME_LENGTH = 100
MAX_COORDINATE = 100_000  # of a box, in image pixels; a larger one is an error in the file
KART_CLASS = 1  # class id of karts in `detections`

_SCALE_X = IMAGE_SIZE[0] / FRAME_SIZE[0]
_SCALE_Y = IMAGE_SIZE[1] / FRAME_SIZE[1]


class Kart(NamedTuple):
    """A kart with its box (x1, y1, x2, y2) in image pixels, truncated to int."""

    name: str
    box: tuple[int, int, int, int]

    @property
    def center(self) -> tuple[float, float]:
        """Box centre (x, y) in image pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


class Scene(NamedTuple):
    """One camera view: its track, the karts large enough to count, and the ego among them.

    No two karts have the same name; `view_scene` refuses a view where they do.
    """

    track: str
    karts: tuple[Kart, ...]
    ego: Kart | None  # None exactly when `karts` is empty

    @property
    def others(self) -> list[Kart]:
        """The karts without the ego."""
        return [kart for kart in self.karts if kart is not self.ego]


class AmbiguousView(ValueError):
    """Two karts of a view have the same name: a question that names it has two answers."""


def view_scene(info: Mapping[str, Any], view_index: int) -> Scene:
    """Read one view of a parsed `NNNNN_info.json`.

    Args:
        info: has `track` (str), `karts` (names without spaces, index = track id) and
            `detections` (per view a list of `[class_id, track_id, x1, y1, x2, y2]` in a
            600x400 frame, x1 <= x2 and y1 <= y2).
        view_index: index into `detections`.

    Raises:
        AmbiguousView: two karts that are large enough to count have the same name.
        ValueError: a field is missing or malformed; the message names it.
    """
    try:
        names, rows = info["karts"], info["detections"][view_index]
        track = info["track"]
    except KeyError as error:
        raise ValueError(f"field {error} is missing") from None
    except (IndexError, TypeError):
        raise ValueError(f"field 'detections' has no view {view_index}") from None
    if not _is_name(track) or not isinstance(names, list) or not isinstance(rows, list):
        raise ValueError("expected 'track' as a name, 'karts' and each of 'detections' as lists")
    _check_kart_names(names)
    karts: dict[str, Kart] = {}
    for row in rows:
        try:
            if (row[0] if type(row[0]) is int else _id(row[0])) != KART_CLASS:
                continue
            left, top, right, bottom = _box(row)
        except (TypeError, ValueError, LookupError, OverflowError):
            raise _malformed(view_index, row) from None
        if right - left >= MIN_BOX_SIDE and bottom - top >= MIN_BOX_SIDE:
            if max(right, bottom, -left, -top) > MAX_COORDINATE:
                raise _malformed(view_index, row)
            name = _kart_name(names, row[1])
            if name in karts:
                raise AmbiguousView(
                    f"field 'detections', view {view_index}: two karts are named {short_repr(name)}"
                )
            karts[name] = Kart(name, (left, top, right, bottom))
    return make_scene(track, tuple(karts.values()))


def make_scene(track: str, karts: tuple[Kart, ...]) -> Scene:
    """The scene of these karts; the ego is the nearest to the centre of the image."""
    return Scene(track, karts, min(karts, key=_distance_to_image_center, default=None))


def is_left(kart: Kart, ego: Kart) -> bool:
    """Whether the kart is left of the ego or level with it; if not, it is to the right."""
    return kart.center[0] <= ego.center[0]


def is_front(kart: Kart, ego: Kart) -> bool:
    """Whether the kart is in front of the ego: higher in the image. If not, it is behind."""
    return kart.center[1] < ego.center[1]


def side_of(kart: Kart, ego: Kart) -> str:
    """The word for the side of the ego on which the kart is: left or right."""
    return "left" if is_left(kart, ego) else "right"


def depth_of(kart: Kart, ego: Kart) -> str:
    """The word for the place before or behind the ego: front or back."""
    return "front" if is_front(kart, ego) else "back"


def regions(scene: Scene) -> tuple[list[Kart], list[Kart], list[Kart], list[Kart]]:
    """The other karts left of, right of, in front of and behind the ego; each is in two of them."""
    others, ego = scene.others, scene.ego
    if ego is None:
        return [], [], [], []
    return (
        [kart for kart in others if is_left(kart, ego)],
        [kart for kart in others if not is_left(kart, ego)],
        [kart for kart in others if is_front(kart, ego)],
        [kart for kart in others if not is_front(kart, ego)],
    )


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right swapped."""
    width = IMAGE_SIZE[0]
    karts = tuple(
        Kart(kart.name, (width - kart.box[2], kart.box[1], width - kart.box[0], kart.box[3]))
        for kart in scene.karts
    )
    return make_scene(scene.track, karts)


def _distance_to_image_center(kart: Kart) -> int:
    """Squared distance in half pixels: sums of corners are twice the centre, in whole numbers."""
    x1, y1, x2, y2 = kart.box
    return (x1 + x2 - IMAGE_SIZE[0]) ** 2 + (y1 + y2 - IMAGE_SIZE[1]) ** 2


def _malformed(view_index: int, row: Any) -> ValueError:
    # Shortened: a row may be nested deeper than a plain repr can follow.
    return ValueError(
        f"field 'detections', view {view_index}: {short_repr(row)} is not "
        "[class_id, track_id, x1, y1, x2, y2], numbers with x1 <= x2 and y1 <= y2"
    )


def _box(row: list[Any]) -> tuple[int, int, int, int]:
    """Corners of a detection in image pixels; a malformed row raises some exception."""
    _, _, x1, y1, x2, y2 = row
    if x1 > x2 or y1 > y2 or bool in map(type, row):
        raise ValueError
    return int(x1 * _SCALE_X), int(y1 * _SCALE_Y), int(x2 * _SCALE_X), int(y2 * _SCALE_Y)


def _check_kart_names(names: list[Any]) -> None:
    for name in names:
        # A space would end the name in a question; see `questions.kart_in`.
        if not _is_name(name) or " " in name:
            raise ValueError(f"field 'karts': {short_repr(name)} is not a name without spaces")


def _kart_name(names: list[Any], track_id: Any) -> str:
    try:
        number = _id(track_id)
    except ValueError:
        number = -1
    if not 0 <= number < len(names):
        raise ValueError(f"field 'karts' has no name for track id {short_repr(track_id)}")
    return names[number]


def _id(value: Any) -> int:
    """A whole number, which some programs write as 1.0; of anything else a ValueError."""
    if type(value) is int:  # JSON's true equals 1
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise ValueError


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable()
