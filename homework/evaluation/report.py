"""The report of an adapter: what is known of it, the page, heat maps and images of answers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError
from ..common.files import Opener, atomic_write, digest, read_json
from ..inspection.figures import curves, finite
from ..model.adapter_files import STATE, WEIGHTS
from ..model.vlm import Record
from .measure import Measured, scenes
from .page import PAGE, report_data, write_report
from .runs import Run, minutes
from .statistics import Outcome

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..model.vlm import BaseVLM

MAX_POINTS = 400  # per curve
LOOKED_AT = "where the model looks"
CAVEAT = "Not one of the five kinds of question that training teaches: do not rely on the answer."


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
    """Write the report of an adapter; see `write_page`.

    Args:
        others: runs to compare with, beside the base alone.
        most: heat maps; none are made of an adapter in the starter's form.
    """
    assert vlm.adapter
    about = about_adapter(vlm.adapter, measured.dataset.data_dir)
    others = [*measured.base_run(about["base"]), *others]
    maps = {} if vlm.inputs.starter else heat_maps(vlm, measured, most)
    return write_page(folder, measured, about, others, maps, open_file)


def write_page(
    folder: Path,
    measured: Measured,
    about: Mapping[str, Any],
    others: Sequence[Run] = (),
    heat: Mapping[int, Any] | None = None,
    open_file: Opener = atomic_write,
) -> str:
    """Write the report to `folder`, as a page and as JSON; returns a line that says so.

    Args:
        about: the run; name, date and more; see `about_adapter`.
        others: runs to compare with, question by question.
        heat: index of a sample -> its heat map; see `heat_maps`.
    """
    samples, outcomes = measured.result.samples, measured.outcomes
    questions = {
        "split": measured.dataset.split,
        "train_split": measured.train_split,
        "seen_known": measured.seen_known,
        "majority_source": measured.source,
    }
    majority = {accuracy.label: accuracy.value for accuracy in measured.baseline.accuracies}
    data = report_data(outcomes, {**about, **questions}, majority, others)
    files = {o.image_file: s.image_path for o, s in zip(outcomes, samples, strict=True)}
    size = write_report(folder, data, files, heat or {}, open_file)
    return f"wrote {folder / PAGE} and report.json ({size / 1e6:.1f} MB); open it in a browser"


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
    from ..inspection.draw import LEGEND, Color, with_caption
    from ..labels.questions import kind_of, pairs
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
    from ..frames.images import enlarge, open_image
    from ..inspection.draw import draw_labels
    from ..model.heat_map import heat_maps, overlay

    picture = open_image(image)
    large = enlarge(picture)
    if asked:
        large = overlay(picture, heat_maps(vlm, [image], *([text] for text in asked))[0])
    if boxes and (scene := scenes([image])[image]):
        draw_labels(large, scene)
    return large
