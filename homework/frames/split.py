"""A split's folder: its frames (info files) and their views' images, from one listing.

data/train/00000_info.json     one frame: ten views, seen by ten cameras
data/train/00000_03_im.jpg     the image of its view 3
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import InputError, printable
from ..common.files import DATA_DIR, quick_loads, read_plain, shown
from ..labels.scene import AmbiguousView, Scene, view_scene

SPLITS = ("train", "train_demo", "valid", "valid_grader")  # of the course's dataset
MANIFEST = "manifest.json"  # in the data folder: the download is complete
INFO_SUFFIX = "_info.json"
IMAGE_SUFFIX = "_im.jpg"
NAMED = 3  # examples per reason of what was skipped
MAX_INFO_BYTES = 1_000_000  # the largest of the dataset have 45,000
_IMAGE_NAME = re.compile(r"(.+)_(\d+)_im\.\w+", re.ASCII)

# Reasons to skip something, in the order in which they are printed.
NO_IMAGE = "views without an image"
AMBIGUOUS = "views with two karts of one name"
NO_VIEW = "images without a view"  # beside an info file that has fewer views
UNUSABLE = "unusable info files"
EMPTY = "pairs without a question or an answer"
CONTRADICTED = "questions with contradictory answers"


class Split(NamedTuple):
    """The listing of a split's folder; no file has been opened."""

    folder: Path
    name: str  # of the folder; every `image_file` begins with it
    info_files: tuple[str, ...]  # names, sorted
    names: frozenset[str]  # of all files in the folder, also of the images

    @property
    def images(self) -> list[str]:
        """Names of the images, sorted."""
        found = (name for name in self.names if name.endswith(IMAGE_SUFFIX))
        return sorted(name for name in found if name[0] != ".")

    @property
    def orphans(self) -> list[str]:
        """Names of the images without an info file, sorted."""
        frames = {name.removesuffix(INFO_SUFFIX) for name in self.info_files}
        return [name for name in self.images if frame_of(name) not in frames]

    def image_file(self, image: str) -> str:
        """The image's path relative to the data folder, as question/answer files give it."""
        return f"{self.name}/{image}"


class Frame(NamedTuple):
    """One parsed info file with the scenes of those views that have an image."""

    info: dict[str, Any]
    views: list[tuple[str, Scene]]  # image's name, scene


@dataclass
class Skipped:
    """What was skipped: how often for each reason, and the first few names."""

    counts: Counter[str] = field(default_factory=Counter)  # keys are NO_IMAGE and so on
    first: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, reason: str, name: str) -> None:
        """Count one skipped thing."""
        self.counts[reason] += 1
        if len(self.first[reason]) < NAMED:
            self.first[reason].append(name)

    def add(self, other: Skipped) -> None:
        """Add the counts and names of `other`."""
        self.counts.update(other.counts)
        for reason, names in other.first.items():
            self.first[reason] = (self.first[reason] + names)[:NAMED]

    def lines(self) -> list[str]:
        """The report: one line for each reason that occurred."""
        return [
            f"{reason}: {self.counts[reason]:,} ({'; '.join(map(printable, self.first[reason]))}"
            f"{'; ...' if self.counts[reason] > NAMED else ''})"
            for reason in (NO_IMAGE, AMBIGUOUS, NO_VIEW, UNUSABLE, EMPTY, CONTRADICTED)
            if self.counts[reason]
        ]

    def nothing_left(self, split: Split, use: str) -> InputError:
        """The error where a split has no view to `use`."""
        reasons = "; ".join(self.lines()) or "its info files have no views"
        return InputError(f"{split.folder}: nothing to {use}; {reasons}")


def list_split(folder: str | Path) -> Split:
    """List a folder, once. Raises InputError if there is no such folder, or no info file in it."""
    folder = Path(folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        fix = f"{how_to_download(folder.absolute().parent)}, or " if folder.name in SPLITS else ""
        line = f"{folder}: no such folder; {fix}give the folder of a split, such as data/sample"
        raise InputError(line) from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    # Unpacking on a Mac leaves hidden ._00000_info.json files that are no info files.
    info_files = sorted(name for name in names if name.endswith(INFO_SUFFIX) and name[0] != ".")
    if not info_files:
        inside = [name for name in sorted(names) if has_info_files(folder / name)]
        hint = f"did you mean {folder / inside[0]}?" if inside else "give a split that has some"
        raise InputError(f"{folder}: no *{INFO_SUFFIX} file here; {hint}")
    name = Path(os.path.abspath(folder)).name  # of a link, not of what it points to
    return Split(folder, name, tuple(info_files), frozenset(names))


def shuffled(frames: Iterable[str]) -> list[str]:
    """Frames in a random order that is the same on every machine."""
    order = sorted(frames)
    random.Random(0).shuffle(order)
    return order


def held_out(frames: Iterable[str], share: float) -> set[str]:
    """The frames, by name, that training never learns from: it is evaluated on them.

    All views of a frame show one moment, so they are held out together. At least one frame and
    at most one in ten is held out; none if there are fewer than ten.
    """
    order = shuffled(set(frames))
    return set(order[: min(max(int(len(order) * share), 1), len(order) // 10)])


def image_name(info_file: str, view_index: int) -> str:
    """`00000_info.json`, 3 -> `00000_03_im.jpg`."""
    return f"{info_file[: -len(INFO_SUFFIX)]}_{view_index:02d}{IMAGE_SUFFIX}"


def frame_of(image: str) -> str:
    """The frame of an image: `00000_03_im.jpg` -> `00000`."""
    found = _IMAGE_NAME.fullmatch(image)
    return found[1] if found else image.split("_")[0]


def view_of(image: str) -> int | None:
    """The view of an image: `00000_03_im.jpg` -> 3; None if its name has another form."""
    found = _IMAGE_NAME.fullmatch(image)
    return int(found[2]) if found else None


def read_frames(split: Split, info_files: Iterable[str], skipped: Skipped) -> Iterator[Frame]:
    """Read and parse each of `info_files` once; count in `skipped` what cannot be used."""
    images = _images_by_frame(split.names)
    for name in info_files:
        of_frame = Skipped()  # dropped if the whole frame is unusable
        try:
            info = _load(f"{split.folder}/{name}")
            names = [image_name(name, view) for view in range(len(info["detections"]))]
            views = list(_views(split, info, names, of_frame))
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            skipped.note(UNUSABLE, f"{name}: {reason}")
            continue
        for image in sorted(images.get(name[: -len(INFO_SUFFIX)], set()).difference(names)):
            of_frame.note(NO_VIEW, image)
        skipped.add(of_frame)
        yield Frame(info, views)


def _views(
    split: Split, info: dict[str, Any], images: list[str], skipped: Skipped
) -> Iterator[tuple[str, Scene]]:
    for view_index, image in enumerate(images):
        if image not in split.names:
            skipped.note(NO_IMAGE, image)
            continue
        try:
            yield image, view_scene(info, view_index)
        except AmbiguousView:
            skipped.note(AMBIGUOUS, image)


@lru_cache(1)  # read_frames may be called for each frame of a split
def _images_by_frame(names: frozenset[str]) -> Mapping[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        if name.endswith(IMAGE_SUFFIX):
            found[frame_of(name)].add(name)
    return found


def read_info(path: str | Path) -> dict[str, Any]:
    """Parse an info file; InputError if it is missing, unreadable or no JSON object with views."""
    try:
        return _load(path)
    except FileNotFoundError:
        split = Path(path).absolute().parent
        fix = f"{how_to_download(split.parent)}, or " if split.name in SPLITS else ""
        line = f"{path}: no such file; {fix}give a NNNNN{INFO_SUFFIX}, such as one of data/sample"
        raise InputError(line) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; {how_to_repair(Path(path))}") from None


def _load(path: str | Path) -> dict[str, Any]:
    """Parse an info file; a ValueError says what is wrong with its content."""
    data = read_plain(path, MAX_INFO_BYTES)
    try:
        info = quick_loads(data)
    except ValueError as error:
        raise ValueError(f"not valid JSON ({error})") from None
    if not isinstance(info, dict):
        raise ValueError("not a JSON object")
    if not isinstance(info.get("detections"), list):
        raise ValueError("field 'detections' is missing or is no list")
    return info


def has_info_files(folder: Path) -> bool:
    """Whether it is a folder with info files."""
    return folder.is_dir() and any(name.endswith(INFO_SUFFIX) for name in os.listdir(folder))


# --- advice at the end of errors: the command that brings files back ---


def how_to_download(data_dir: Path) -> str:
    """What brings back every file of the dataset that is missing or damaged."""
    here = "" if data_dir.resolve() == DATA_DIR.resolve() else f" --data_dir {shown(data_dir)}"
    manifest = data_dir / MANIFEST
    # With a manifest `download` only counts the files, and files of pairs count too.
    first = f"delete {shown(manifest)} and " if manifest.exists() else ""
    return f"{first}run python -m homework.download{here}"


def how_to_repair(file: Path) -> str:
    """What to do about a damaged file of a split."""
    if file.absolute().parent.name in SPLITS:
        return f"correct it, or {how_to_download(file.absolute().parent.parent)}"
    return "correct it, or remove it"
