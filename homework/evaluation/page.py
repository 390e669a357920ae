"""The report of a benchmark: `index.html` for people and `report.json` for programs.

The page is one file that contains its tables, images and heat maps: see `common.outputs`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import Opener, atomic_write
from ..common.outputs import render
from ..data import ALL, count_by_kind, is_correct
from ..frames.images import webp_texts
from ..labels.scene import Scene
from . import statistics
from .runs import DATA, FORMAT, Asked, Run
from .statistics import Outcome, asked_kart, classes, size_of

VERSION = "2"
PAGE = "index.html"
PARTS = Path(__file__).with_suffix(".html")
LISTED = 5  # most probable answers that a sample lists
NOTE = (
    "Probability: how much the model believes its answer, compared with every other answer that "
    "such a question can have (softmax)."
)


def report_files(folder: Path | None) -> list[Path]:
    """The files of a report in `folder`; none without a folder."""
    return [folder / PAGE, folder / DATA] if folder else []


def report_data(
    outcomes: Sequence[Outcome],
    about: Mapping[str, Any],
    majority: Mapping[str, float],
    others: Sequence[Run] = (),
) -> dict[str, Any]:
    """The whole report as plain JSON data.

    Args:
        about: of the run and of the questions; see `report.write_page`.
        majority: kind and "all" -> accuracy of the majority baseline.
        others: runs to compare with, question by question.
    """
    accuracies = count_by_kind((outcome.kind, outcome.right) for outcome in outcomes)
    kinds = [accuracy.label for accuracy in accuracies]
    calibrations = {
        kind: statistics.calibration(o for o in outcomes if kind in (o.kind, ALL)) for kind in kinds
    }
    breakdowns = {
        name: {kind: [each.row() for each in classes] for kind, classes in table.items()}
        for name, table in statistics.breakdowns(outcomes).items()
    }
    # The same classes, with the mean probability of each.
    breakdowns["confidence"] = {k: found["bins"] for k, found in calibrations.items() if found}
    judged = [_judged(outcomes, other) for other in others]
    return {
        "format": FORMAT + VERSION,
        **about,
        "probability_note": NOTE if any(o.probabilities for o in outcomes) else "",
        "kinds": [
            {**accuracy.row(), "majority": majority.get(accuracy.label)} for accuracy in accuracies
        ],
        "breakdowns": breakdowns,
        "confusions": {
            kind: statistics.confusion(outcomes, kind)
            for kind in kinds
            if kind not in (ALL, "other")
        },
        "calibration": {kind: found["error"] for kind, found in calibrations.items() if found},
        "others": [
            {"checkpoint": other.name, "date": other.date, **statistics.compare(outcomes, known)}
            for other, known in zip(others, judged, strict=True)
        ],
        "views": {o.image_file: _view(o.scene) for o in outcomes if o.scene},
        "samples": [
            {**_sample(o), "others": [known.get((o.image_file, o.question)) for known in judged]}
            for o in outcomes
        ],
    }


def write_report(
    folder: Path,
    data: Mapping[str, Any],
    images: Mapping[str, str],
    heat: Mapping[int, Any],
    open_file: Opener = atomic_write,
) -> int:
    """Write the page and its data to `folder`; returns their size in bytes.

    Args:
        images: image_file -> path of the image.
        heat: index of a sample -> heat map, float (side, side) from 0 to 1.
    """
    blocks = {
        "data": data,
        "pictures": webp_texts(images),
        "heat-maps": {index: _grid_text(grid) for index, grid in heat.items()},
    }
    page = render(f"What {data['checkpoint']} sees", PARTS, blocks)
    with open_file(folder / DATA) as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n")
    with open_file(folder / PAGE) as file:
        file.write(page)
    return sum((folder / name).stat().st_size for name in (PAGE, DATA))


def _grid_text(grid) -> str:
    import numpy as np

    cells = np.clip(np.asarray(grid, np.float32) * 255, 0, 255).round().astype(np.uint8)
    return base64.b64encode(cells.tobytes()).decode()


def _view(scene: Scene) -> dict[str, Any]:
    karts = [[kart.name, *kart.box] for kart in scene.karts]
    ego = None if scene.ego is None else scene.karts.index(scene.ego)
    return {"track": scene.track, "karts": karts, "ego": ego}


def _sample(outcome: Outcome) -> dict[str, Any]:
    probability = outcome.probability
    return {
        "image_file": outcome.image_file,
        "question": outcome.question,
        "kind": outcome.kind,
        "answer": outcome.answer,
        "truth": outcome.truth,
        "right": outcome.right,
        "kart": asked_kart(outcome.question, outcome.truth, outcome.kind),
        "size": size_of(outcome),
        "seen": outcome.seen,
        "classes": classes(outcome),
        "probability": None if probability is None else round(probability, 4),
        # The most probable answers, then the correct one and the model's.
        "scores": [
            [answer, round(value, 4)]
            for rank, (answer, value) in enumerate(outcome.probabilities)
            if rank < LISTED or answer in (outcome.truth, outcome.answer)
        ],
    }


def _judged(outcomes: Sequence[Outcome], other: Run) -> dict[Asked, dict[str, Any]]:
    """The answers of another run, compared with the correct answers of this one."""
    truths = {(o.image_file, o.question): o.truth for o in outcomes}
    return {
        asked: {"answer": answer, "right": is_correct(answer, truths.get(asked, ""))}
        for asked, answer in other.answers.items()
    }
