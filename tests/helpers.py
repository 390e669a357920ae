"""Small data folders for the tests, drawn in a moment; not for learning anything from."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from homework.labels.questions import KARTS, TRACKS, pairs
from homework.labels.scene import view_scene

ROOT = Path(__file__).resolve().parent.parent
VIEWS = 10
NUM_TRACKS = 3
SAMPLES = {"sample": 8, "sample_valid": 8}  # frames of each in a clone; 24 questions of each kind


def make_split(folder: Path, frames: int, seed: int) -> Path:
    """Write `frames` info files of ten views each, and the views' images, to `folder`.

    The frames go round three tracks; each track has one line-up of ten karts, which depends on
    `seed`. A view shows up to five karts, each in a colour of its own. The first view of the
    first frame shows none.
    """
    folder.mkdir(parents=True)
    generator = random.Random(seed)
    line_ups = {track: generator.sample(KARTS, VIEWS) for track in TRACKS[:NUM_TRACKS]}
    for number in range(frames):
        track = TRACKS[number % NUM_TRACKS]
        info = {
            "track": track,
            "karts": line_ups[track],
            "detections": [make_view(generator, number + view) for view in range(VIEWS)],
        }
        (folder / f"{number:05x}_info.json").write_text(json.dumps(info))
        for view in range(VIEWS):
            draw_image(folder / f"{number:05x}_{view:02d}_im.jpg", info, view)
    return folder


def make_view(generator: random.Random, number: int) -> list[list[int]]:
    """The detections of a view: `number` 0 has no kart, others one to five, and the road."""
    rows = [[2, 0, 0, 183, 599, 399], [3, 0, 0, 0, 599, 252]]
    for track_id in generator.sample(range(VIEWS), min(number, generator.randint(1, 5))):
        x, y = generator.randrange(480), generator.randrange(280)
        width, height = generator.randint(24, 119), generator.randint(24, 119)
        rows.append([1, track_id, x, y, x + width, y + height])
    return rows


def change(info_file: Path, **fields) -> None:
    """Put other values into an info file."""
    info_file.write_text(json.dumps(json.loads(info_file.read_text()) | fields))


def draw_image(file: Path, info: dict[str, Any], view_index: int) -> None:
    """Draw the karts of a view as plain rectangles; a colour for each kart and each track."""
    from PIL import Image, ImageDraw

    scene = view_scene(info, view_index)
    image = Image.new("RGB", (150, 100), color(TRACKS.index(scene.track)))
    for kart in scene.karts:
        ImageDraw.Draw(image).rectangle(kart.box, fill=color(40 + KARTS.index(kart.name)))
    image.save(file)


def color(number: int) -> tuple[int, int, int]:
    """One of many different colours."""
    return (number * 67 % 256, number * 151 % 256, number * 199 % 256)


def expected_pairs(folder: Path) -> list[dict[str, str]]:
    """The pairs of a folder, made in the plainest way."""
    rows = []
    for file in sorted(folder.glob("*_info.json")):
        info = json.loads(file.read_text())
        for view in range(len(info["detections"])):
            image = f"{file.name[:5]}_{view:02d}_im.jpg"
            if (folder / image).exists():
                for question, answer in pairs(view_scene(info, view)):
                    image_file = f"{folder.name}/{image}"
                    row = {"question": question, "answer": answer, "image_file": image_file}
                    rows.append(row)
    return rows


def files_in(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*")}


def run_command(*words: object) -> int:
    """`python -m WORDS...` in this process, which has the packages imported; the exit code."""
    module, *arguments = map(str, words)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is imported already
        patch.setattr(sys, "argv", ["", *arguments])
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def clone(folder: Path, *names: str) -> Path:
    """What a fresh clone holds: the package, `names`, and a few frames of each sample."""
    ignored = shutil.ignore_patterns("__pycache__", "vlm_model")
    for name in ("homework", *names):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
        else:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for split, frames in SAMPLES.items():
        (folder / "data" / split).mkdir(parents=True)
        for info in sorted((ROOT / "data" / split).glob("*_info.json"))[:frames]:
            for file in info.parent.glob(f"{info.name.split('_')[0]}_*"):
                shutil.copy(file, folder / "data" / split)
    return folder
