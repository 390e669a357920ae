"""python benchmarks/lesson.py run [--data_dir data] [--train train] [--valid valid] [--steps 300]

What a data pipeline is worth: the base fine-tuned on more and fewer pairs, on other mixtures of
them and without each kind, every time for the same number of steps, and measured on validation
frames. Writes a table, a plot and all figures; given again, it makes what is missing.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.earlier import earlier  # noqa: E402
from homework import base_vlm  # noqa: E402
from homework.common import options  # noqa: E402
from homework.common.cli import run as run_commands  # noqa: E402
from homework.common.files import atomic_write, write_json, writing  # noqa: E402
from homework.data import Item, VQADataset, benchmark  # noqa: E402
from homework.evaluation.measure import scenes  # noqa: E402
from homework.frames.images import (  # noqa: E402
    open_image,
    refuse_split,
    save_image,
)
from homework.labels import questions  # noqa: E402
from homework.labels.questions import KINDS, kind_of  # noqa: E402
from homework.labels.scene import mirrored  # noqa: E402

SIZES = (5, 100, 1_000, 10_000, 100_000)
MIXED = 10_000  # pairs of each mixture
RESULTS, TABLE, PLOT = "lesson.json", "lesson.md", "lesson.png"
MANY, FEW = "many images, one pair each", "few images, all their pairs"
LEFT, RIGHT = (questions.HOW_MANY.format(f"to the {side} of") for side in questions.SIDES)


@options.checked
def run(
    data_dir: Path | None = None,
    train: str = "train",
    valid: str = "valid",
    recorded: str | None = None,
    output: Path = Path("runs/lesson"),
    base: str = "embedded_base",
    steps: options.Count = 300,
    per_kind: options.Count = 200,
    seed: options.Natural = 0,
) -> None:
    """Fine-tune on each choice of pairs, measure, and write lesson.md, lesson.png, lesson.json.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train: the split that pairs are chosen from.
        valid: the split that is measured on: as many questions of each kind.
        recorded: a split of recorded frames to mix in, such as sample; left out if not given.
        output: the folder to write to.
        base: what is fine-tuned: see BaseVLM.
        steps: of each run, 16 images each.
        per_kind: questions of each kind to measure on.
        seed: of the choices and of training.

    Raises:
        InputError: an option or the data is wrong, or validation frames are to be trained on.
    """
    for name in (train, recorded):
        if name is not None:
            refuse_split(name)
    scratch = output / "mirrored"
    pairs = list(VQADataset(train, data_dir))
    more = list(VQADataset(recorded, data_dir)) if recorded else []
    asked = balanced(list(VQADataset(valid, data_dir)), per_kind * len(KINDS), seed)
    chosen = {"train": train, "recorded": recorded, "valid": valid, "base": base}
    chosen |= {"steps": steps, "per_kind": per_kind, "seed": seed}
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        before = earlier(output / RESULTS, chosen)
        rows = before["rows"] if before else []
        for group, label, make in experiments(pairs, more, scratch, seed):
            if not any((row["group"], row["label"]) == (group, label) for row in rows):
                items = make()
                print(f"{group}: {label}, {len(items):,} pairs")
                rows.append(
                    {"group": group, "label": label, **_measure(items, asked, output, chosen)}
                )
                write_json(output / RESULTS, {"options": chosen, "rows": rows})
        shutil.rmtree(scratch, ignore_errors=True)
        (output / TABLE).write_text(table(rows), "utf-8")
        plot(rows, output / PLOT)
    print(table(rows))
    print(f"wrote {output / TABLE}, {output / PLOT} and {output / RESULTS}")


def experiments(
    pairs: Sequence[Item], recorded: Sequence[Item], scratch: Path, seed: int
) -> Iterator[tuple]:
    """What is compared: group, label, and a function that chooses the pairs.

    Args:
        scratch: folder for mirrored images.
    """
    for size in SIZES:
        if size <= len(pairs):
            yield MANY, f"{size:,}", lambda size=size: spread(pairs, size, seed)
            yield FEW, f"{size:,}", lambda size=size: packed(pairs, size, seed)
    most = min(MIXED, len(pairs))
    yield "mixture", "as they come", lambda: spread(pairs, most, seed)
    yield "mixture", "kinds in equal shares", lambda: balanced(pairs, most, seed)
    yield "mixture", "half mirrored", lambda: with_mirrored(spread(pairs, most // 2, seed), scratch)
    if recorded:
        yield "mixture", "half recorded", lambda: _half(pairs, recorded, most, seed)
    for kind in KINDS:
        rest = [item for item in pairs if kind_of(item["question"]) != kind]
        yield "left out", kind, lambda rest=rest: balanced(rest, most, seed)


def spread(pairs: Sequence[Item], size: int, seed: int) -> list[Item]:
    """Pairs of as many images as there are: one of each, then a second of each, ..."""
    rng = random.Random(seed)
    turns = [rng.sample(items, len(items)) for items in _by_image(pairs, rng)]
    chosen: list[Item] = []
    for turn in range(max(map(len, turns), default=0)):
        chosen += [items[turn] for items in turns if turn < len(items)]
        if len(chosen) >= size:
            break
    return chosen[:size]


def packed(pairs: Sequence[Item], size: int, seed: int) -> list[Item]:
    """All pairs of one image, then of another, until there are enough."""
    chosen = (item for items in _by_image(pairs, random.Random(seed)) for item in items)
    return [item for item, _ in zip(chosen, range(size), strict=False)]


def balanced(pairs: Sequence[Item], size: int, seed: int) -> list[Item]:
    """Pairs of all kinds that there are, in equal shares as far as they reach."""
    rng = random.Random(seed)
    kinds: dict[str, list[Item]] = defaultdict(list)
    for item in rng.sample(list(pairs), len(pairs)):
        kinds[kind_of(item["question"])].append(item)
    share = size // max(len(kinds), 1)
    return [item for items in kinds.values() for item in items[:share]]


def with_mirrored(items: Sequence[Item], folder: Path) -> list[Item]:
    """The pairs, and each once more about its image with left and right swapped.

    A pair whose image has no labels beside it, or about a region that is empty once mirrored
    (a kart level with the ego counts as left of it), has no counterpart.

    Args:
        folder: where the mirrored images are written.
    """
    from PIL import ImageOps

    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[str, dict[str, str]]] = {}  # of each image: mirrored, its pairs
    for path, scene in scenes([item["image_path"] for item in items]).items():
        if scene:
            # The name begins with the frame, which keeps it on its side of the held-out share.
            image = folder / f"{Path(path).stem}.png"
            save_image(ImageOps.mirror(open_image(path)), image)
            made[path] = str(image), dict(questions.pairs(mirrored(scene)))
    counterparts = []
    for item in items:
        image, answers = made.get(item["image_path"], ("", {}))
        question = {LEFT: RIGHT, RIGHT: LEFT}.get(item["question"], item["question"])
        if question in answers:
            answer = answers[question]
            counterparts.append({"image_path": image, "question": question, "answer": answer})
    return [*items, *counterparts]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """All results as a Markdown table."""
    lines = [
        f"| pairs | | number | images | {' | '.join(KINDS)} | kinds alike |",
        f"|---|---|---:|---:|{'---:|' * (len(KINDS) + 1)}",
    ]
    for row in rows:
        shares = " | ".join(f"{row['accuracy'][kind]:.1%}" for kind in KINDS)
        lines.append(
            f"| {row['group']} | {row['label']} | {row['pairs']:,} | {row['pictures']:,} "
            f"| {shares} | {row['mean']:.1%} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy against the number of pairs, and of each mixture, as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for group in (MANY, FEW):
        points = [(row["pairs"], row["mean"]) for row in rows if row["group"] == group]
        if points:
            left.plot(*zip(*points, strict=True), marker="o", label=group)
    left.set(xscale="log", xlabel="pairs to train on", ylabel="accuracy, kinds alike", ylim=(0, 1))
    left.grid(alpha=0.3)
    if left.lines:
        left.legend()
    bars = [row for row in rows if row["group"] not in (MANY, FEW)]
    labels = [f"without {r['label']}" if r["group"] == "left out" else r["label"] for r in bars]
    right.barh(labels[::-1], [row["mean"] for row in bars][::-1])
    right.set(xlabel="accuracy, kinds alike", xlim=(0, 1))
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _by_image(pairs: Sequence[Item], rng: random.Random) -> list[list[Item]]:
    images: dict[str, list[Item]] = defaultdict(list)
    for item in pairs:
        images[item["image_path"]].append(item)
    return rng.sample(list(images.values()), len(images))


def _half(pairs, recorded, size: int, seed: int) -> list[Item]:
    return spread(pairs, size // 2, seed) + spread(recorded, size // 2, seed)


def _measure(
    items: list[Item], asked: list[Item], folder: Path, chosen: dict[str, Any]
) -> dict[str, Any]:
    """Fine-tune on some pairs and ask the questions: shares of right answers."""
    from homework.model.vlm import BaseVLM
    from homework.training.config import TrainConfig
    from homework.training.run import fit

    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    start = time.perf_counter()
    config = TrainConfig(max_steps=chosen["steps"], seed=chosen["seed"])
    fit(items, BaseVLM(chosen["base"]), adapter, config)
    seconds = time.perf_counter() - start
    result = benchmark(base_vlm.load(adapter, verbose=False), asked)
    accuracy = {kind: share for kind, (share, _) in result.accuracy_per_kind.items()}
    return {
        "pairs": len(items),
        "pictures": len({item["image_path"] for item in items}),
        "seconds": round(seconds),
        "accuracy": accuracy,
        "mean": sum(accuracy.values()) / len(accuracy),
    }


if __name__ == "__main__":
    run_commands({"run": run})
