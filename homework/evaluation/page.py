"""The report of a benchmark as a page and for machines: `index.html` and `report.json`.

The page is one file: tables, pictures and heat maps are in it, so that it opens from a disk,
with no network and no server. Its own policy (CSP) keeps it from asking for anything.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import atomic_write, read_json
from ..frames.pictures import open_picture
from ..labels.scene import PICTURE_SIZE, Scene
from . import statistics
from .statistics import ALL, Outcome, asked_kart, size_of

FORMAT = "supertuxkart-vqa-report/1"
PAGE, DATA = "index.html", "report.json"
MAX_REPORT_BYTES = 500_000_000
TEMPLATE = Path(__file__).with_name("page.html")
SCRIPT = TEMPLATE.with_suffix(".js")
RUNNERS_UP = 5  # answers with their probabilities, the first included
QUALITY = 72  # of WebP: 2.2 kB a frame; its JPEG file has 8
NOTE = (
    "p: the model's probability of its answer, by a softmax over the closed list of answers "
    "that such a question can have."
)
Grids = Mapping[int, Any]  # index of a sample -> heat map, float (side, side) from 0 to 1


def report_data(
    outcomes: Sequence[Outcome], about: Mapping[str, Any], majority: Mapping[str, float]
) -> dict[str, Any]:
    """The whole report as plain JSON data.

    Args:
        about: checkpoint, adapter_sha256, base, split, train_split, majority_source, versions,
            seen_known.
        majority: kind and "all" -> accuracy of the majority baseline.
    """
    shares = statistics.share_per_kind(outcomes)
    kinds = [share.label for share in shares]
    calibrations = {
        kind: statistics.calibration(o for o in outcomes if kind in (o.kind, ALL)) for kind in kinds
    }
    return {
        "format": FORMAT,
        **about,
        "probability_note": NOTE if any(o.scores for o in outcomes) else "",
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
    """Hold the report against another one: `against`, and what each sample was `before`."""
    known = {(s["image_file"], s["question"]): s for s in before["samples"]}
    names = {name: str(before.get(name, "")) for name in ("checkpoint", "adapter_sha256")}
    data["against"] = {**names, **statistics.compare(outcomes, known)}
    for sample in data["samples"]:
        old = known.get((sample["image_file"], sample["question"]))
        if old:
            fields = ("answer", "right", "probability")
            sample["before"] = {name: old.get(name) for name in fields}


def read_report(path: Path) -> dict[str, Any]:
    """Read another report's `report.json`, given itself or by its folder.

    Raises:
        InputError: it is missing or is no report.
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
    folder: Path, data: Mapping[str, Any], pictures: Mapping[str, str], heat: Grids, method: str
) -> int:
    """Write the page and its data to `folder`; returns their size in bytes.

    Args:
        pictures: image_file -> path of the picture.
        heat: heat maps of some samples.
        method: how they were made.
    """
    grids = {str(index): _grid_text(grid) for index, grid in heat.items()}
    page = _page({**data, "heat": {"method": method, "grids": grids}}, _encoded(pictures))
    with atomic_write(folder / DATA) as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n")
    with atomic_write(folder / PAGE) as file:
        file.write(page)
    return sum((folder / name).stat().st_size for name in (PAGE, DATA))


def _page(data: Mapping[str, Any], pictures: Mapping[str, str]) -> bytes:
    template, script = TEMPLATE.read_text("utf-8"), SCRIPT.read_text("utf-8")
    style = re.search(r"<style>(.*?)</style>", template, re.DOTALL)[1]
    parts = {
        # This very script and style run and nothing else does, wherever it may come from.
        "csp": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'",
        "title": html.escape(f"What {data['checkpoint']} sees"),
        "data": _json_block(data),
        "pictures": _json_block(pictures),
        "script": script,
    }
    # In one pass: what is put in is never searched for names itself.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template).encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_block(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _encoded(pictures: Mapping[str, str]) -> dict[str, str]:
    """image_file -> base64 of the picture as WebP."""
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    from ..common.workers import num_cores

    # Threads: Pillow lets go of Python's lock, and torch, loaded by now, does not bear forks.
    with ThreadPoolExecutor(num_cores()) as pool:
        texts = pool.map(_webp, pictures.values())
        bar = tqdm(
            texts, total=len(pictures), unit="picture", desc="report", disable=len(pictures) < 500
        )
        return dict(zip(pictures, bar, strict=True))


def _webp(path: str) -> str:
    buffer = io.BytesIO()
    picture = open_picture(path)
    if picture.width > PICTURE_SIZE[0] or picture.height > PICTURE_SIZE[1]:
        picture = picture.resize(PICTURE_SIZE)
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode()


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
        "scores": [[answer, round(p, 4)] for answer, p in _listed(outcome)],
    }


def _listed(outcome: Outcome) -> Iterable[tuple[str, float]]:
    """The likeliest answers; the truth and the answer given, too, if they are not among them."""
    first = outcome.scores[:RUNNERS_UP]
    named = (outcome.truth, outcome.answer)
    return (*first, *(pair for pair in outcome.scores[RUNNERS_UP:] if pair[0] in named))


def _is_sample(value: Any) -> bool:
    texts = ("image_file", "question", "answer")
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in texts)
        and isinstance(value.get("right"), bool)
    )
