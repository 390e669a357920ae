"""The report of a benchmark: `index.html` for people and `report.json` for programs.

The page is one file that contains its tables, images and heat maps: see `common.outputs`. Beside
it: what is known of an adapter, and images of single answers.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError
from ..common.files import Opener, atomic_write, digest, read_json
from ..common.outputs import render
from ..data import ALL, count_by_kind, is_correct
from ..frames.images import enlarge, open_image, webp_texts
from ..inspection.figures import LEGEND, Color, curves, draw_labels, finite, with_caption
from ..labels.questions import asked_kart, kind_of, pairs
from ..labels.scene import Scene
from ..model.adapter_files import STATE, WEIGHTS
from ..model.vlm import Record
from . import statistics
from .measure import Measured, scenes
from .runs import DATA, FORMAT, Asked, Run, minutes
from .statistics import Outcome

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..model.vlm import BaseVLM

VERSION = "2"
PAGE = "index.html"
PARTS = Path(__file__).with_suffix(".html")
MAX_POINTS = 400  # per curve
LISTED = 5  # most probable answers that a sample lists
NOTE = (
    "Probability: how much the model believes its answer, compared with every other answer that "
    "such a question can have (softmax)."
)
LOOKED_AT = "where the model looks"
CAVEAT = "Not one of the five kinds of question that training teaches: do not rely on the answer."


def report_files(folder: Path | None) -> list[Path]:
    """The files of a report in `folder`; none without a folder."""
    return [folder / PAGE, folder / DATA] if folder else []


def write_report(
    folder: Path,
    measured: Measured,
    about: Mapping[str, Any],
    others: Sequence[Run] = (),
    heat: Mapping[int, Any] | None = None,
    open_file: Opener = atomic_write,
) -> str:
    """Write the page and its data to `folder`; returns a line that says so.

    Args:
        about: the run; name, date and more; see `about_adapter`.
        others: runs to compare with, question by question.
        heat: index of a sample -> heat map, float (side, side) from 0 to 1; see `heat_maps`.
    """
    data = report_data(measured, about, others)
    rows = zip(measured.outcomes, measured.result.samples, strict=True)
    blocks = {
        "data": data,
        "pictures": webp_texts({o.image_file: sample.image_path for o, sample in rows}),
        "heat-maps": {index: _grid_text(grid) for index, grid in (heat or {}).items()},
    }
    contents = {
        DATA: json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n",
        PAGE: render(f"What {about['checkpoint']} sees", PARTS, blocks),
    }
    for name, content in contents.items():
        with open_file(folder / name) as file:
            file.write(content)
    size = sum(map(len, contents.values())) / 1e6
    return f"wrote {folder / PAGE} and {DATA} ({size:.1f} MB); open it in a browser"


def report_data(
    measured: Measured, about: Mapping[str, Any], others: Sequence[Run] = ()
) -> dict[str, Any]:
    """The whole report as plain JSON data; see `write_report`."""
    outcomes = measured.outcomes
    majority = {accuracy.label: accuracy.value for accuracy in measured.baseline.accuracies}
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
        "split": measured.dataset.split,
        "train_split": measured.train_split,
        "seen_known": measured.seen_known,
        "majority_source": measured.source,
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
        "size": statistics.size_of(outcome),
        "seen": outcome.seen,
        "classes": {name: label for name, (_, label) in statistics.classes(outcome).items()},
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


# --- adapters ---


def about_adapter(record: Record, data_dir: Path) -> dict[str, Any]:
    """Name, date, recipe and curves of an adapter, without the folders above it: they are private.

    Args:
        data_dir: where the images are; the page shows how to ask about one again.
    """
    folder, base = record.folder, record.base
    recipe = (record.training or {}) | {"base": Path(base).name}
    return {
        "checkpoint": folder.resolve().name,
        "date": minutes(datetime.now()),
        "adapter_sha256": digest(folder / WEIGHTS),
        "base": Path(base).name,
        "recipe": {n: v for n, v in recipe.items() if v is None or isinstance(v, str) or finite(v)},
        "curves": {
            title: {name: line[:: -(-len(line) // MAX_POINTS)] for name, line in lines.items()}
            for title, lines in curves(_log(folder)).items()
        },
        "ask": {"checkpoint": _shown(folder), "data_dir": _shown(data_dir)},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _log(folder: Path) -> list[dict[str, Any]]:
    """The records of a training; none if they are missing or damaged: a report goes without."""
    try:
        log = read_json(folder / STATE).get("log_history", [])
        return [record for record in log if finite(record.get("step"))]
    except (InputError, AttributeError, TypeError):
        return []


def _shown(folder: Path) -> str:
    """A folder as a command takes it, if it is below the current one; its name alone if not."""
    folder, here = folder.resolve(), Path.cwd()
    return folder.relative_to(here).as_posix() if folder.is_relative_to(here) else folder.name


def report_adapter(
    folder: Path,
    vlm: BaseVLM,
    measured: Measured,
    others: Sequence[Run],
    most: int,
    open_file: Opener = atomic_write,
) -> str:
    """Write the report of an adapter; see `write_report`.

    Args:
        others: runs to compare with, beside the base alone.
        most: heat maps; none are made of an adapter in the starter's form.
    """
    assert vlm.adapter
    about = about_adapter(vlm.adapter, measured.dataset.data_dir)
    others = [*measured.base_run(about["base"]), *others]
    maps = {} if vlm.inputs.starter else heat_maps(vlm, measured, most)
    return write_report(folder, measured, about, others, maps, open_file)


def heat_maps(vlm: BaseVLM, measured: Measured, most: int) -> dict[int, Any]:
    """Heat maps, (side, side) of 0 to 1, of at most `most` samples, half of them wrong answers."""
    from ..model import heat_map

    chosen = _chosen(measured.outcomes, most)
    shown = [measured.result.samples[index] for index in chosen]
    maps = heat_map.heat_maps(
        vlm,
        [sample.image_path for sample in shown],
        [sample.question for sample in shown],
        [sample.model_answer for sample in shown],
    )
    return dict(zip(chosen, maps, strict=True))


def _chosen(outcomes: Sequence[Outcome], most: int) -> list[int]:
    """Draw samples at random with a fixed seed, half of them wrong if there are enough."""
    order = random.Random(0).sample(range(len(outcomes)), len(outcomes))
    wrong = [index for index in order if not outcomes[index].right]
    right = [index for index in order if outcomes[index].right]
    kept = wrong[: max(most // 2, most - len(right))]
    return sorted(kept + right[: most - len(kept)])


def explained(vlm: BaseVLM, image: str, question: str, answer: str) -> Image:
    """An image of an answer: heat map, boxes and true answer if known, and a legend."""
    from ..model.heat_map import ORANGE

    legend: dict[Color, str] = {ORANGE: LOOKED_AT}
    told = ""
    if scene := scenes([image])[image]:
        legend |= LEGEND
        truth = dict(pairs(scene)).get(question)
        told = f" (the labels say: {truth})" if truth is not None else ""
    lines = [f"Question: {question}", f"Answer: {answer}{told}"]
    lines += [CAVEAT] * (kind_of(question) == "other")
    return with_caption(drawn(vlm, image, (question, answer)), lines, legend)


def drawn(vlm: BaseVLM, image: str, asked: tuple[str, str] | None, boxes: bool = True) -> Image:
    """The image enlarged, with the boxes of its labels and the heat map of an answer."""
    from ..model.heat_map import heat_maps, overlay

    picture = open_image(image)
    large = enlarge(picture)
    if asked:
        large = overlay(picture, heat_maps(vlm, [image], *([text] for text in asked))[0])
    if boxes and (scene := scenes([image])[image]):
        draw_labels(large, scene)
    return large
