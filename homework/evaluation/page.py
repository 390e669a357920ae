"""The report of a benchmark: `index.html` for people and `report.json` for programs.

The page is one file that contains its tables, pictures and heat maps: see `common.page`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import atomic_write, read_json
from ..common.page import render
from ..data import ALL, share_per_kind
from ..frames.pictures import webp_texts
from ..labels.scene import Scene
from . import statistics
from .statistics import Outcome, asked_kart, size_of

FORMAT = "supertuxkart-vqa-report/1"
PAGE, DATA = "index.html", "report.json"
MAX_REPORT_BYTES = 500_000_000
PARTS = Path(__file__).with_suffix(".html")
LISTED = 5  # most probable answers that a sample lists
NOTE = (
    "Probability: how much the model believes its answer, compared with every other answer that "
    "such a question can have (softmax)."
)


def report_data(
    outcomes: Sequence[Outcome], about: Mapping[str, Any], majority: Mapping[str, float]
) -> dict[str, Any]:
    """The whole report as plain JSON data.

    Args:
        about: checkpoint, date, adapter_sha256, base, split, train_split, majority_source,
            versions, seen_known.
        majority: kind and "all" -> accuracy of the majority baseline.
    """
    shares = share_per_kind((outcome.kind, outcome.right) for outcome in outcomes)
    kinds = [share.label for share in shares]
    calibrations = {
        kind: statistics.calibration(o for o in outcomes if kind in (o.kind, ALL)) for kind in kinds
    }
    return {
        "format": FORMAT,
        **about,
        "probability_note": NOTE if any(o.probabilities for o in outcomes) else "",
        "kinds": [{**share.row(), "majority": majority.get(share.label)} for share in shares],
        "breakdowns": {
            name: {kind: [share.row() for share in shares] for kind, shares in table.items()}
            for name, table in statistics.breakdowns(outcomes).items()
        },
        "confusions": {
            kind: statistics.confusion(outcomes, kind)
            for kind in kinds
            if kind not in (ALL, "other")
        },
        "calibration": {kind: found for kind, found in calibrations.items() if found},
        "views": {o.image_file: _view(o.scene) for o in outcomes if o.scene},
        "samples": [_sample(outcome) for outcome in outcomes],
    }


def add_comparison(
    data: dict[str, Any], outcomes: Sequence[Outcome], before: Mapping[str, Any]
) -> None:
    """Add a comparison with an earlier report: `against`, and each sample's result `before`."""
    known = {(s["image_file"], s["question"]): s for s in before["samples"]}
    names = {name: str(before.get(name, "")) for name in ("checkpoint", "date", "adapter_sha256")}
    data["against"] = {**names, **statistics.compare(outcomes, known)}
    for sample in data["samples"]:
        old = known.get((sample["image_file"], sample["question"]))
        if old:
            fields = ("answer", "right", "probability")
            sample["before"] = {name: old.get(name) for name in fields}


def read_report(path: Path) -> dict[str, Any]:
    """Read the `report.json` of a report; `path` is the file or its folder.

    Raises:
        InputError: it is missing or not a report.
    """
    file = path / DATA if path.is_dir() else path
    found = read_json(file, MAX_REPORT_BYTES)
    samples = found.get("samples") if isinstance(found, dict) else None
    if (
        not isinstance(samples, list)
        or found.get("format") != FORMAT
        or not all(map(_is_sample, samples))
    ):
        raise InputError(
            f"{file}: not a report of this version; make it with finetune test --report"
        )
    return found


def write_report(
    folder: Path,
    data: Mapping[str, Any],
    pictures: Mapping[str, str],
    heat: Mapping[int, Any],
    method: str,
) -> int:
    """Write the page and its data to `folder`; returns their size in bytes.

    Args:
        pictures: image_file -> path of the picture.
        heat: index of a sample -> heat map, float (side, side) from 0 to 1.
        method: name of the method that computed the heat maps.
    """
    grids = {str(index): _grid_text(grid) for index, grid in heat.items()}
    blocks = {
        "data": {**data, "heat": {"method": method, "grids": grids}},
        "pictures": webp_texts(pictures),
    }
    page = render(f"What {data['checkpoint']} sees", PARTS, blocks)
    with atomic_write(folder / DATA) as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n")
    with atomic_write(folder / PAGE) as file:
        file.write(page)
    return sum((folder / name).stat().st_size for name in (PAGE, DATA))


def _grid_text(grid) -> str:
    import numpy as np

    cells = np.clip(np.asarray(grid, np.float32) * 255, 0, 255).round().astype(np.uint8)
    return base64.b64encode(cells.tobytes()).decode()


def _view(scene: Scene) -> dict[str, Any]:
    karts = [[kart.name, *kart.box] for kart in scene.karts]
    return {
        "track": scene.track,
        "karts": karts,
        "ego": None if scene.ego is None else scene.karts.index(scene.ego),
    }


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
        "probability": None if probability is None else round(probability, 4),
        "scores": [[answer, round(value, 4)] for answer, value in _listed(outcome)],
    }


def _listed(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """The most probable answers, and after them the truth and the model's answer."""
    for rank, (answer, probability) in enumerate(outcome.probabilities):
        if rank < LISTED or answer in (outcome.truth, outcome.answer):
            yield answer, probability


def _is_sample(value: Any) -> bool:
    texts = ("image_file", "question", "answer")
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in texts)
        and isinstance(value.get("right"), bool)
    )
