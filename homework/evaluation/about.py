"""What a report says about its adapter: name, date, recipe, training curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import digest, read_json
from ..model.adapter import STATE, WEIGHTS
from ..model.vlm import Record

MAX_POINTS = 400  # per curve
HELD_OUT = "held-out "  # begins the name of a kind's accuracy on held-out pictures


def about_adapter(record: Record, data_dir: Path) -> dict[str, Any]:
    """Name, date, recipe and curves of an adapter, without the folders above it: they are private.

    Args:
        data_dir: where the pictures are; the page shows how to ask about one again.
    """
    folder, base = record.folder, record.base
    recipe = (record.training or {}) | {"base": Path(base).name}
    return {
        "checkpoint": folder.resolve().name,
        "date": minutes(datetime.now()),
        "adapter_sha256": digest(folder / WEIGHTS),
        "base": Path(base).name,
        "recipe": {
            n: v for n, v in recipe.items() if v is None or isinstance(v, str) or _finite(v)
        },
        "curves": {
            title: {name: _thinned(points) for name, points in lines.items()}
            for title, lines in curves(_log(folder)).items()
        },
        "ask": {"checkpoint": _shown(folder), "data_dir": _shown(data_dir)},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def curves(log: Iterable[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The curves of a training: title of a chart -> name of a line -> (step, value).

    Args:
        log: a dict per record, with "step" and some of "loss", "accuracy", "eval_loss",
            "eval_accuracy" and, for each kind, "held-out <kind>".
    """
    records = list(log)
    both = {"": "training", "eval_": "held-out train frames"}
    charts = {
        title: {f"{start}{title}": name for start, name in both.items()}
        for title in ("loss", "accuracy")
    }
    kinds = dict.fromkeys(
        name for record in records for name in record if name.startswith(HELD_OUT)
    )
    charts["held-out accuracy by kind"] = {name: name.removeprefix(HELD_OUT) for name in kinds}
    return {
        title: {
            name: points
            for field, name in lines.items()
            if (points := [(r["step"], r[field]) for r in records if _finite(r.get(field))])
        }
        for title, lines in charts.items()
    }


def _log(folder: Path) -> list[dict[str, Any]]:
    """The records of a training; none if they are missing or damaged: a report goes without."""
    try:
        log = read_json(folder / STATE).get("log_history", [])
        return [record for record in log if _finite(record.get("step"))]
    except (InputError, AttributeError, TypeError):
        return []


def _finite(value: object) -> bool:
    """Whether JSON has this number; it has no infinity and no NaN."""
    return isinstance(value, int | float) and math.isfinite(value)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    return points[:: -(-len(points) // MAX_POINTS)]


def minutes(time: datetime) -> str:
    """A date and time as reports give it, to the minute."""
    return time.astimezone().isoformat(" ", "minutes")


def _shown(folder: Path) -> str:
    """A folder as a command takes it, if it is below the current one; its name alone if not."""
    folder, here = folder.resolve(), Path.cwd()
    return folder.relative_to(here).as_posix() if folder.is_relative_to(here) else folder.name
