"""A page on the labels of a split: every pair with its frame, to search, filter and count.

python -m homework.generate_qa explore --data_dir data/train --output out

`index.html` holds the labels and shows the images of the split's folder. It opens from disk and
needs neither network nor server. It also says which views repeat another one: in the dataset's
train split a race that has ended is recorded again and again, and more than half of the views
repeat a moment of another view.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from ..common.files import shown, writing
from ..common.outputs import Outputs, render
from ..frames.qa_read import QA_SUFFIX, find_qa_files, read_pairs
from ..frames.split import NAMED, Split
from ..labels.questions import KINDS, Pair, asked_kart, kind_of, pairs
from ..labels.scene import SIZES, Scene
from .survey import THUMBNAIL_SIZE, Survey, survey

PAGE = "index.html"
PARTS = Path(__file__).with_suffix(".html")
# Boxes of a frozen moment move by a pixel or two: the camera sways. Its images differ by less
# than 2 grey levels in most cases. The differences of other views with such boxes begin at 5: the
# kart drives on, in the middle of the image as before, and the road around it is another one.
BOX_TOLERANCE = 2  # image pixels
IMAGE_TOLERANCE = 3  # mean difference of the thumbnails, in grey levels of 255
RULE = (
    "Two views show the same scene if track and karts are the same, no side of a box differs by "
    f"more than {BOX_TOLERANCE} pixels, and the images, reduced to {THUMBNAIL_SIZE[0]}x"
    f"{THUMBNAIL_SIZE[1]} grey pixels, by no more than {IMAGE_TOLERANCE} of 255 on average."
)


class Labelled(NamedTuple):
    """The pairs of a split and where they come from."""

    pairs: list[list[Pair]]  # of each view
    source: str  # where they come from, as the end of a sentence
    notes: list[str]  # what was left out or is doubtful


def explore_split(
    split: Split, output: Path, num_workers: int, overwrite: bool = False
) -> list[str]:
    """Write the page of a split to a folder; returns lines that say what was written.

    The same split gives the same bytes, whatever `num_workers` is. Raises InputError if there is
    nothing to show, or `output` cannot be written or, without `overwrite`, replaced.
    """
    outputs, page = Outputs("explore", overwrite), output / PAGE
    outputs.check(page)
    found = survey(split, num_workers)
    labelled = read_labels(found)
    blank = np.zeros(THUMBNAIL_SIZE[::-1], np.uint8)  # of what cannot be read
    thumbnails = (blank if isinstance(image, str) else image[1] for image in found.images)
    firsts = first_views(zip((scene for _, scene in found.views), thumbnails, strict=True))
    try:
        folder = quote(Path(os.path.relpath(split.folder, output)).as_posix())
    except ValueError:  # on another drive of Windows
        folder = split.folder.resolve().as_uri()
    data = {**page_data(found, labelled, firsts), "images": folder}
    html = render(f"The pairs of {split.name}", PARTS, {"data": data}, images="'self' file:")
    with writing(output, "or try --output"), outputs.open(page) as file:
        file.write(html)
    scenes = len(set(firsts))
    repeats = len(firsts) - scenes
    return [
        f"{split.folder}: {len(split.info_files):,} info files, {len(firsts):,} views, "
        f"{sum(map(len, labelled.pairs)):,} pairs {labelled.source}",
        f"{scenes:,} scenes; {repeats:,} views ({repeats / len(firsts):.0%}) repeat one of them",
        *labelled.notes,
        f"wrote {page} ({len(html) / 1e6:.1f} MB); open it in a browser",
    ]


def read_labels(found: Survey) -> Labelled:
    """Read the pairs of the QA files, or else make those of the info files.

    Raises InputError if a QA file is malformed.
    """
    split, views = found.split, found.views
    data_dir = Path(os.path.abspath(split.folder)).parent
    notes = [f"skipped: {line}" for line in found.skipped.lines()]
    notes += _note("skipped: images without an info file", split.orphans)
    notes += _note("unreadable images", found.unreadable)
    files = find_qa_files(data_dir, split.name)
    if not files:
        source = f"made from the info files (there is no *{QA_SUFFIX})"
        return Labelled([list(pairs(scene)) for _, scene in views], source, notes)
    read = read_pairs(files, data_dir)
    of_image: dict[str, list[Pair]] = {
        str(data_dir / split.image_file(image)): [] for image, _ in views
    }
    elsewhere = []
    for path, question, answer in read.pairs:
        if path in of_image:
            of_image[path].append((question, answer))
        else:
            elsewhere.append(os.path.relpath(path, data_dir))
    other = [
        f"{image}: {question} {answer}"
        for (image, scene), made in zip(views, of_image.values(), strict=True)
        for question, answer in set(made).difference(pairs(scene))
    ]
    notes += _note(f"skipped: pairs about images without labels in {split.name}", elsewhere)
    notes += _note("pairs that the labelling rule does not make", sorted(other))
    notes += [f"skipped: {line}" for line in read.left_out.lines()]
    notes += [f"skipped: repeated pairs: {read.duplicates:,}"] * bool(read.duplicates)
    return Labelled([*of_image.values()], f"of {', '.join(file.name for file in files)}", notes)


def _note(what: str, names: Sequence[str]) -> list[str]:
    """A line with the number of `names` and the first few; none if there are none."""
    more = "; ..." if len(names) > NAMED else ""
    return [f"{what}: {len(names):,} ({'; '.join(names[:NAMED])}{more})"] if names else []


def first_views(views: Iterable[tuple[Scene, np.ndarray]]) -> list[int]:
    """For each view the index of the first view of the same scene; its own where it is the first.

    RULE says when two views show the same scene.

    Args:
        views: scene and thumbnail of each view in the order of the split.
    """
    known: defaultdict[tuple, list[tuple[np.ndarray, int]]] = defaultdict(list)
    found = []
    for index, (scene, thumbnail) in enumerate(views):
        karts = sorted(scene.karts)
        boxes = np.array([kart.box for kart in karts], np.int64).ravel()
        # One row per view, so that it is compared with all scenes of its line-up at once.
        row = np.concatenate([boxes, thumbnail.ravel()])
        scenes = known[scene.track, tuple(kart.name for kart in karts)]
        first = _first_alike(scenes, row, len(boxes))
        if first is None:
            scenes.append((row, index))
        found.append(index if first is None else first)
    return found


def _first_alike(scenes: list[tuple[np.ndarray, int]], row: np.ndarray, sides: int) -> int | None:
    if not scenes:
        return None
    differences = np.abs(np.stack([other for other, _ in scenes]) - row)
    alike = differences[:, sides:].mean(axis=1) <= IMAGE_TOLERANCE
    if sides:
        alike &= differences[:, :sides].max(axis=1) <= BOX_TOLERANCE
    return scenes[int(alike.argmax())][1] if alike.any() else None


def page_data(found: Survey, labelled: Labelled, firsts: Sequence[int]) -> dict[str, Any]:
    """What the page's script reads.

    Args:
        firsts: for each view the first view of the same scene; see `first_views`.

    Returns:
        Among others `asked`: each distinct pair as [question, answer, kind, kart that it asks about
        or None]; `views`: [image, track, index of the ego or None, [[kart, x1, y1, x2, y2], ...],
        first view of the scene, [indices of its pairs in `asked`]] of each view.
    """
    split, raced = found.split, Counter()
    for (track, line_up), number in found.line_ups.items():
        raced.update(dict.fromkeys(((track, kart) for kart in line_up), number))
    asked: dict[Pair, int] = {}
    views = []
    for (image, scene), first, made in zip(found.views, firsts, labelled.pairs, strict=True):
        ego = scene.karts.index(scene.ego) if scene.ego else None
        karts = [[kart.name, *kart.box] for kart in scene.karts]
        numbers = [asked.setdefault(pair, len(asked)) for pair in made]
        views.append([image, scene.track, ego, karts, first, numbers])
    return {
        "split": split.name,
        "folder": shown(split.folder),
        "info_files": len(split.info_files),
        "source": labelled.source,
        "notes": labelled.notes,
        "rule": RULE,
        "sizes": SIZES,
        "kinds": [*KINDS, "other"],
        "tracks": sorted({scene.track for _, scene in found.views}),
        "karts": sorted({kart for _, kart in raced}),
        "line_ups": [[*pair, number] for pair, number in sorted(raced.items())],
        "asked": [[q, a, (kind := kind_of(q)), asked_kart(q, a, kind)] for q, a in asked],
        "views": views,
    }
