"""A split's folder: its frames (info files) and their views' pictures, from one listing.

data/train/00000_info.json     one frame: ten views, seen by ten cameras
data/train/00000_03_im.jpg     the picture of its view 3
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import InputError
from ..common.files import read_plain
from ..labels.scene import AmbiguousView, Scene, view_scene

INFO_SUFFIX = "_info.json"
PICTURE_SUFFIX = "_im.jpg"
CAMERAS_SUFFIX = "_cameras.json"  # beside an info file, of recordings: matrices and poses
NAMED = 3  # of the things skipped, how many are named
MAX_INFO_BYTES = 1_000_000  # the largest of the real ones have 45,000

# What can be left out of a split, in the order in which it is told.
NO_PICTURE = "views without a picture"
AMBIGUOUS = "views with two karts of one name"
NO_VIEW = "pictures without a view"  # beside an info file that has fewer views
UNUSABLE = "unusable info files"


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
    """What was left out and why: how often each reason occurred, and the first few by name."""

    counts: Counter[str] = field(default_factory=Counter)  # keys are NO_PICTURE and so on
    first: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, reason: str, name: str) -> None:
        """Count one thing left out; `name` says which."""
        self.counts[reason] += 1
        if len(self.first[reason]) < NAMED:
            self.first[reason].append(name)

    def add(self, other: Skipped) -> None:
        """Count what `other` left out, too."""
        self.counts.update(other.counts)
        for reason, names in other.first.items():
            self.first[reason] = (self.first[reason] + names)[:NAMED]

    def lines(self) -> list[str]:
        """For people: one line for each reason that occurred."""
        return [
            f"{reason}: {self.counts[reason]:,} "
            f"({'; '.join(self.first[reason])}{'; ...' if self.counts[reason] > NAMED else ''})"
            for reason in (NO_PICTURE, AMBIGUOUS, NO_VIEW, UNUSABLE)
            if self.counts[reason]
        ]


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
    pictures = _pictures_by_frame(split.names)
    for name in info_files:
        of_frame = Skipped()  # counts for nothing if the frame turns out to be unusable
        try:
            info = _parse(read_plain(f"{split.folder}/{name}", MAX_INFO_BYTES))
            names = [picture_name(name, view) for view in range(view_count(info))]
            views = list(_views(split, info, names, of_frame))
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            skipped.note(UNUSABLE, f"{name}: {reason}")
            continue
        for picture in sorted(pictures.get(name[: -len(INFO_SUFFIX)], set()).difference(names)):
            of_frame.note(NO_VIEW, picture)
        skipped.add(of_frame)
        yield Frame(info, views)


def _views(
    split: Split, info: dict[str, Any], pictures: list[str], skipped: Skipped
) -> Iterator[tuple[str, Scene]]:
    for view_index, picture in enumerate(pictures):
        if picture not in split.names:
            skipped.note(NO_PICTURE, picture)
            continue
        try:
            yield picture, view_scene(info, view_index)
        except AmbiguousView:
            skipped.note(AMBIGUOUS, picture)


@lru_cache(1)  # a split's frames may be read one by one
def _pictures_by_frame(names: frozenset[str]) -> Mapping[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        if name.endswith(PICTURE_SUFFIX):
            found[name.rsplit("_", 2)[0]].add(name)  # 00000_03_im.jpg -> 00000
    return found


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
