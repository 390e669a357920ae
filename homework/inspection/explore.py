"""A page on the labels of a split: every pair with its frame, to search, filter and count.

python -m homework.generate_qa explore --data_dir data/train --output out

`index.html` holds the labels; the images are in sheets beside it, in `explore_pictures/`. The
page opens from disk and needs neither network nor server.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import PARTIAL, install, shown, writing
from ..common.outputs import Outputs, render
from ..frames.qa_read import QA_SUFFIX, find_qa_files, read_pairs
from ..frames.split import NAMED, Skipped, Split, frame_of, read_frames, view_of
from ..labels.questions import KINDS, Pair, asked_kart, kind_of, pairs
from ..labels.scene import SIZES, Scene
from .sheets import COLUMNS, PER_SHEET, RULE, first_views, make_sheets

PAGE, IMAGES = "index.html", "explore_pictures"
_SHEET = re.compile(r"\d{4,}\.webp")  # a file in IMAGES
PARTS = Path(__file__).with_suffix(".html")


@dataclass
class Labelled:
    """The labels of a split: what the page shows, without the images."""

    split: Split
    views: list[tuple[str, Scene]] = field(default_factory=list)  # image's name, scene
    pairs: list[list[Pair]] = field(default_factory=list)  # of each view
    line_ups: Counter[tuple[str, str]] = field(default_factory=Counter)  # (track, kart) -> races
    source: str = ""  # where the pairs come from, as the end of a sentence
    notes: list[str] = field(default_factory=list)  # what was left out or is doubtful

    @property
    def number(self) -> int:
        """The number of pairs."""
        return sum(map(len, self.pairs))

    def note(self, what: str, names: Sequence[str]) -> None:
        """Note the number of `names` and the first few, if there are any."""
        if names:
            more = "; ..." if len(names) > NAMED else ""
            self.notes.append(f"{what}: {len(names):,} ({'; '.join(names[:NAMED])}{more})")


def explore_split(
    split: Split, output: Path, num_workers: int, overwrite: bool = False
) -> list[str]:
    """Write the page of a split to a folder; returns lines that say what was written.

    The same split gives the same bytes, whatever `num_workers` is. Raises InputError if there is
    nothing to show, or `output` cannot be written or, without `overwrite`, replaced.
    """
    outputs = Outputs("explore", overwrite)
    outputs.check(output / PAGE)
    others = [path.name for path in (output / IMAGES).glob("*") if not _SHEET.fullmatch(path.name)]
    there = (output / IMAGES).exists() and (others or not outputs.has_written(output / PAGE))
    if there and not overwrite:
        raise InputError(
            f"{output / IMAGES}: there is a folder that explore did not write; give another "
            "--output, or replace it with --overwrite"
        )
    labelled = read_labels(split)
    fresh = output / f"fresh{PARTIAL}"
    with writing(output, "or try --output"):
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            (fresh / IMAGES).mkdir(parents=True)
            firsts = _write_sheets(labelled, fresh / IMAGES, num_workers)
            blocks = {"data": page_data(labelled, firsts)}
            page = render(f"The pairs of {split.name}", PARTS, blocks, images="'self'")
            (fresh / PAGE).write_bytes(page)
            outputs.claim(output / PAGE, fresh / PAGE)
            install(fresh, output, PAGE)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    scenes = len(set(firsts))
    repeats = len(firsts) - scenes
    files = [output / PAGE, *(output / IMAGES).iterdir()]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return [
        f"{split.folder}: {len(split.info_files):,} info files, {len(firsts):,} views, "
        f"{labelled.number:,} pairs {labelled.source}",
        f"{scenes:,} scenes; {repeats:,} views ({repeats / len(firsts):.0%}) repeat one of them",
        *labelled.notes,
        f"wrote {output / PAGE} and {IMAGES}/ ({megabytes:.1f} MB); open it in a browser",
    ]


def read_labels(split: Split) -> Labelled:
    """Read the info files, and the pairs of the QA files or else of the info files.

    Raises InputError if no view can be shown, or a QA file is malformed.
    """
    labelled, skipped = Labelled(split), Skipped()
    for frame in read_frames(split, split.info_files, skipped):
        if frame.views:
            labelled.views += frame.views
            labelled.line_ups.update(
                (frame.info["track"], kart) for kart in set(frame.info["karts"])
            )
    labelled.notes = [f"skipped: {line}" for line in skipped.lines()]
    if not labelled.views:
        reasons = "; ".join(skipped.lines()) or "its info files have no views"
        raise InputError(f"{split.folder}: nothing to show; {reasons}")
    labelled.note("skipped: images without an info file", split.orphans)
    if files := find_qa_files(Path(os.path.abspath(split.folder)).parent, split.name):
        _read_pairs(labelled, files)
    else:
        labelled.pairs = [list(pairs(scene)) for _, scene in labelled.views]
        labelled.source = f"made from the info files (there is no *{QA_SUFFIX})"
    return labelled


def _read_pairs(labelled: Labelled, files: Sequence[Path]) -> None:
    split = labelled.split
    data_dir = Path(os.path.abspath(split.folder)).parent
    read = read_pairs(files, data_dir)
    index = {
        str(data_dir / split.image_file(image)): number
        for number, (image, _) in enumerate(labelled.views)
    }
    labelled.source = f"of {', '.join(file.name for file in files)}"
    labelled.pairs = [[] for _ in labelled.views]
    elsewhere = []
    for path, question, answer in read.pairs:
        if path in index:
            labelled.pairs[index[path]].append((question, answer))
        else:
            elsewhere.append(os.path.relpath(path, data_dir))
    other = [
        f"{image}: {question} {answer}"
        for (image, scene), made in zip(labelled.views, labelled.pairs, strict=True)
        for question, answer in set(made).difference(pairs(scene))
    ]
    labelled.note(f"skipped: pairs about images without labels in {split.name}", elsewhere)
    labelled.note("pairs that the labelling rule does not make", sorted(other))
    labelled.notes += [f"skipped: {line}" for line in read.left_out.lines()]
    if read.duplicates:
        labelled.notes.append(f"skipped: repeated pairs: {read.duplicates:,}")


def _write_sheets(labelled: Labelled, folder: Path, num_workers: int) -> list[int]:
    """Write the images; returns each view's `first_views`."""
    paths = [labelled.split.folder / image for image, _ in labelled.views]
    thumbnails, unreadable = [], []
    for number, sheet in enumerate(make_sheets(paths, num_workers)):
        (folder / f"{number:04d}.webp").write_bytes(sheet.webp)
        thumbnails += list(sheet.thumbnails)
        unreadable += sheet.unreadable
    labelled.note("unreadable images", unreadable)
    scenes = (scene for _, scene in labelled.views)
    return first_views(zip(scenes, thumbnails, strict=True))


def page_data(labelled: Labelled, firsts: Sequence[int]) -> dict[str, Any]:
    """What the page's script reads: names once, and numbers that refer to them.

    Args:
        firsts: for each view the first view of the same scene; see `sheets.first_views`.

    Returns:
        `scenes`: each distinct labelling as [track, ego, kart, x1, y1, x2, y2, kart, ...];
        `asked`: each distinct pair as [question, answer, kind, kart that it asks about or -1];
        `views`: [frame, view, scene, first view, number of pairs] of each view, one after the
        other, and `pairs`: those of each view, as indices of `asked`. The image of view N is
        number N % per_sheet of sheet N // per_sheet.
    """
    split = labelled.split
    frames = _numbers(frame_of(image) for image, _ in labelled.views)
    scenes = _numbers(scene for _, scene in labelled.views)
    asked = _numbers(pair for made in labelled.pairs for pair in made)
    tracks = _numbers(sorted({scene.track for scene in scenes}))
    karts = _numbers(sorted({kart for _, kart in labelled.line_ups}))
    kinds = _numbers([*KINDS, "other"])
    return {
        "split": split.name,
        "folder": shown(split.folder),
        "info_files": len(split.info_files),
        "source": labelled.source,
        "notes": labelled.notes,
        "rule": RULE,
        "sizes": SIZES,
        "sheet": {"folder": IMAGES, "columns": COLUMNS, "pictures": PER_SHEET},
        "kinds": list(kinds),
        "tracks": list(tracks),
        "karts": list(karts),
        "frames": list(frames),
        "line_ups": [
            [tracks[track], karts[kart], number]
            for (track, kart), number in sorted(labelled.line_ups.items())
        ],
        "scenes": [_scene(scene, tracks, karts) for scene in scenes],
        "asked": [_asked(pair, kinds, karts) for pair in asked],
        "views": [
            number
            for (image, scene), first, made in zip(
                labelled.views, firsts, labelled.pairs, strict=True
            )
            for number in (
                frames[frame_of(image)], view_of(image), scenes[scene], first, len(made)
            )
        ],
        "pairs": [asked[pair] for made in labelled.pairs for pair in made],
    }  # fmt: skip


def _numbers(values: Iterable[Any]) -> dict[Any, int]:
    """Value -> its number, in the order of the first occurrence."""
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


def _scene(scene: Scene, tracks: dict[str, int], karts: dict[str, int]) -> list[int]:
    ego = scene.karts.index(scene.ego) if scene.ego else -1
    boxes = [number for kart in scene.karts for number in (karts[kart.name], *kart.box)]
    return [tracks[scene.track], ego, *boxes]


def _asked(pair: Pair, kinds: dict[str, int], karts: dict[str, int]) -> list[Any]:
    question, answer = pair
    kind = kind_of(question)
    kart = asked_kart(question, answer, kind)
    return [question, answer, kinds[kind], -1 if kart is None else karts.get(kart, -1)]
