"""A split's folder: its frames (info files) and their views' pictures, from one listing.

data/train/00000_info.json     one frame: ten views, seen by ten cameras
data/train/00000_03_im.jpg     the picture of its view 3
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import InputError
from ..common.files import read_plain
from ..labels.scene import Scene, view_scene

INFO_SUFFIX = "_info.json"
PICTURE_SUFFIX = "_im.jpg"
CAMERAS_SUFFIX = "_cameras.json"  # beside an info file, of recordings: matrices and poses
NAMED = 3  # of the things skipped, how many are named
MAX_INFO_BYTES = 1_000_000  # the largest of the real ones have 45,000


class Split(NamedTuple):
    """What one listing of a split's folder says; no file has been opened."""

    folder: Path
    name: str  # the folder's name, with which every `image_file` begins
    info_files: tuple[str, ...]  # names, sorted
    names: frozenset[str]  # of everything in the folder, the pictures among them

    @property
    def pictures(self) -> list[str]:
        """The pictures' names, sorted."""
        found = (name for name in self.names if name.endswith(PICTURE_SUFFIX))
        return sorted(name for name in found if name[0] != ".")

    def image_file(self, picture: str) -> str:
        """The picture relative to the data folder, as question/answer files give it."""
        return f"{self.name}/{picture}"


class Frame(NamedTuple):
    """One parsed info file with the scenes of those views that have a picture."""

    info: dict[str, Any]
    views: list[tuple[str, Scene]]  # picture's name, scene


@dataclass
class Skipped:
    """What was left out and why: the counts, and the first few by name."""

    views: int = 0  # views whose picture is missing
    pictures: list[str] = field(default_factory=list)
    frames: int = 0  # info files that cannot be used
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Skipped) -> None:
        """Count what `other` left out, too."""
        self.views += other.views
        self.frames += other.frames
        self.pictures = (self.pictures + other.pictures)[:NAMED]
        self.reasons = (self.reasons + other.reasons)[:NAMED]

    def lines(self) -> list[str]:
        """For people: one line for each thing left out, none if nothing was."""
        lines = []
        if self.views:
            lines.append(
                f"views without a picture: {self.views:,} ({_first(self.pictures, self.views)})"
            )
        if self.frames:
            lines.append(
                f"unusable info files: {self.frames:,} ({_first(self.reasons, self.frames)})"
            )
        return lines


def list_split(folder: str | Path) -> Split:
    """List a split's folder, once.

    Raises:
        InputError: no such folder, or no info file in it.
    """
    folder = Path(folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise InputError(f"{folder}: no such folder; give a split's, like data/train") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    # Unpacking on a Mac leaves hidden ._00000_info.json files that are no info files.
    info_files = sorted(name for name in names if name.endswith(INFO_SUFFIX) and name[0] != ".")
    if not info_files:
        inside = [name for name in sorted(names) if _has_info_files(folder / name)]
        hint = f"; did you mean {folder / inside[0]}?" if inside else ""
        raise InputError(f"{folder}: no *{INFO_SUFFIX} file here{hint}")
    name = Path(os.path.abspath(folder)).name  # of a link, not of what it points to
    return Split(folder, name, tuple(info_files), frozenset(names))


def shuffled(frames: Iterable[str]) -> list[str]:
    """Frames in an order that is random, but the same on every machine."""
    order = sorted(frames)
    random.Random(0).shuffle(order)
    return order


def held_out(frames: Iterable[str], share: float) -> set[str]:
    """The frames to measure on and never to train on, whoever trains: pre-training, fine-tuning.

    All views of a frame show one moment, so they are held out together. One frame in ten is
    the most, and one the least where there are ten.

    Args:
        frames: names, any part of them that tells frames apart; repeats count once.
    """
    order = shuffled(set(frames))
    return set(order[: min(max(int(len(order) * share), 1), len(order) // 10)])


def frame_of(picture: str) -> str:
    """The frame that a picture's name belongs to: `00000_03_im.jpg` -> `00000`."""
    return picture.split("_")[0]


def picture_name(info_file: str, view_index: int) -> str:
    """`00000_info.json`, 3 -> `00000_03_im.jpg`."""
    return f"{info_file[: -len(INFO_SUFFIX)]}_{view_index:02d}{PICTURE_SUFFIX}"


def read_frames(split: Split, info_files: Iterable[str], skipped: Skipped) -> Iterator[Frame]:
    """Read and parse each of `info_files` once; what cannot be used is counted in `skipped`."""
    for name in info_files:
        views, missing = [], []
        try:
            info = _parse(read_plain(f"{split.folder}/{name}", MAX_INFO_BYTES))
            for view_index in range(view_count(info)):
                picture = picture_name(name, view_index)
                if picture in split.names:
                    views.append((picture, view_scene(info, view_index)))
                else:
                    missing.append(picture)
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            skipped.add(Skipped(frames=1, reasons=[f"{name}: {reason}"]))
            continue
        if missing:
            skipped.add(Skipped(views=len(missing), pictures=missing[:NAMED]))
        yield Frame(info, views)


def read_info(path: str | Path) -> dict[str, Any]:
    """Parse one info file.

    Raises:
        InputError: the file is missing, unreadable or no JSON object with views.
    """
    try:
        info = _parse(read_plain(path, MAX_INFO_BYTES))
        view_count(info)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a NNNNN{INFO_SUFFIX}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; unpack the dataset again") from None
    return info


def info_name(number: int) -> str:
    """A frame's number -> its info file's name: 7 -> `00007_info.json`."""
    return f"{number:05x}{INFO_SUFFIX}"


def view_count(info: dict[str, Any]) -> int:
    """The number of views in an info file.

    Raises:
        ValueError: `detections` is missing or is no list.
    """
    if not isinstance(info.get("detections"), list):
        raise ValueError("field 'detections' is missing or is no list")
    return len(info["detections"])


def _parse(data: bytes) -> dict[str, Any]:
    import orjson

    try:
        info = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error})") from None
    if not isinstance(info, dict):
        raise ValueError("not a JSON object")
    return info


def _has_info_files(folder: Path) -> bool:
    return folder.is_dir() and any(name.endswith(INFO_SUFFIX) for name in os.listdir(folder))


def _first(names: list[str], total: int) -> str:
    return "; ".join(names) + ("; ..." if total > len(names) else "")


def scenes(pictures: Sequence[str]) -> dict[str, Scene | None]:
    """Picture -> its labels; None where no usable info file lies beside it."""
    infos: dict[str, dict | None] = {}
    found: dict[str, Scene | None] = {}
    for picture in dict.fromkeys(map(str, pictures)):
        folder, name = os.path.split(picture)
        file = f"{folder}/{frame_of(name)}{INFO_SUFFIX}"
        if file not in infos:
            try:
                infos[file] = read_info(file)
            except InputError:
                infos[file] = None
        found[picture] = _scene(infos[file], name)
    return found


def training_pairs(folder: str | Path) -> frozenset[tuple[str, str]] | None:
    """The (track, kart) pairs that some view of a split shows; None without its info files."""
    try:
        split = list_split(folder)
    except InputError:
        return None
    frames = read_frames(split, split.info_files, Skipped())
    return frozenset(
        (scene.track, kart.name)
        for frame in frames
        for _, scene in frame.views
        for kart in scene.karts
    )


def _scene(info: dict | None, picture: str) -> Scene | None:
    parts = picture.split("_")
    if info is None or len(parts) < 2 or not parts[1].isdigit():
        return None
    try:
        return view_scene(info, int(parts[1]))
    except ValueError:
        return None
