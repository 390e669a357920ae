"""python lab/benchmarks/stems.py run [--data_dir data/train] [--seconds 600] [--forms ships,wide]

What other forms of the stem learn in the same CPU time: pre-training on the dense and the fine
labels alone, from fresh weights, then the losses and the names of karts on held-out scenes. Each
result is a file of its own in the output folder; given again, it makes what is missing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.earlier import earlier  # noqa: E402
from homework.common import options  # noqa: E402
from homework.common.cli import run as run_commands  # noqa: E402
from homework.common.errors import InputError  # noqa: E402
from homework.common.files import write_json, writing  # noqa: E402
from homework.common.options import Natural, Positive  # noqa: E402
from lab import pretrain  # noqa: E402
from lab.options import names  # noqa: E402
from lab.pretraining import architecture  # noqa: E402

# Changes to `architecture.STEM`, and the side of a patch where it is another. The second stage has
# 36x36 cells in each, as the fine labels are learned there.
FORMS: dict[str, dict[str, Any]] = {
    "ships": {},
    "narrow": {"stem_channels": [16, 48, 192]},
    "wide": {"stem_channels": [48, 128, 192]},
    "no blocks": {"stem_blocks": [0, 0, 0]},
    "coarse": {"stem_side": 4, "stem_strides": [1, 1, 3], "stem_channels": [48, 96, 192]},
    "18x18 tokens": {"stem_strides": [1, 2, 2], "patch": 8},
}
BASELINE = "ships"
HELD_OUT = 0.08  # of the frames: some hundreds of scenes
PEAK_RATE, BATCH_SIZE, AUGMENTATIONS = 2e-3, 32, ["mirror", "jitter"]
SHOWN = ("kart at centers", "side at centers", "ego at centers", "heat", "name")  # of the losses


@options.checked
def run(
    data_dir: Sequence[str] | None = None,
    seconds: Positive = 600,
    forms: Sequence[str] = tuple(FORMS),
    output: Path = Path("runs/stems"),
    seed: Natural = 0,
) -> None:
    """Train each form for the same CPU time, measure it, and print all results so far.

    Args:
        data_dir: folders of info files and pictures with commas between; data/train if not given.
        seconds: CPU seconds of training of each form; one thread and one core are best.
        forms: which forms, with commas between: ships, narrow, wide, no blocks, coarse, 18x18
            tokens.
        output: the folder for the results.
        seed: of the weights, the order and the augmentations.

    Raises:
        InputError: an option or the data is wrong.
    """
    folders = pretrain.training_folders(data_dir)
    chosen = {"data": [path.name for path in folders], "seconds": seconds, "seed": seed}
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        for form in names("--forms", forms, tuple(FORMS)):
            if not earlier(output / f"{form}.json", chosen):
                print(f"{form}: {seconds:.0f} s")
                result = measure(form, folders, seconds, seed)
                write_json(output / f"{form}.json", {"options": chosen, "result": result})
    found = {form: earlier(output / f"{form}.json", chosen) for form in FORMS}
    results = {form: before["result"] for form, before in found.items() if before}
    print(table(results))

    from homework.training.run import peak_memory_bytes

    print(
        json.dumps(
            {
                "benchmark": "stems",
                "config": chosen,
                "versions": {name: version(name) for name in ("torch", "transformers")},
                "results": results,
                "peak_memory_bytes": peak_memory_bytes(),
            }
        )
    )


def shape_of(form: str) -> dict[str, Any]:
    """What a form changes in `lab.pretraining.architecture`."""
    changed = dict(FORMS[form])
    side = changed.pop("patch", architecture.PATCH_SIDE)
    tokens = (architecture.IMAGE_SIDE // side) ** 2
    return {"STEM": architecture.STEM | changed, "PATCH_SIDE": side, "IMAGE_TOKENS": tokens}


def measure(form: str, folders: list[Path], seconds: float, seed: int) -> dict[str, Any]:
    """Train one form for some CPU seconds; losses and accuracy on the held-out scenes."""
    import torch

    from homework.training.step import MAX_NORM
    from lab.pretraining.batches import load_views
    from lab.pretraining.task import Pretraining

    endless = 10**9
    recipe = {"steps": endless, "dense_steps": endless, "learning_rate": PEAK_RATE, "seed": seed}
    recipe |= {"batch_size": BATCH_SIZE, "held_out": "frame", "augmentations": AUGMENTATIONS}
    with patch.multiple(architecture, **shape_of(form)), tempfile.TemporaryDirectory() as scratch:
        views = [load_views(folder) for folder in folders]
        task = Pretraining(views, Path(scratch), recipe, HELD_OUT)
    if not task.held_out:
        raise InputError("--data_dir: no scene could be held out to measure on; give more frames")
    weights = list(task.weights.values())
    start, steps, used = time.process_time(), 0, 0.0
    for (batch,) in task.batches(0):
        rate = PEAK_RATE * min((used + 1e-3) / 0.05, (1 - used) / 0.6, 1.0)
        for optimizer in task.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        task.loss(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(weights, MAX_NORM)
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        steps += 1
        used = (time.process_time() - start) / seconds
        if steps % 25 == 0:
            print(f"  {steps} steps, {used:.0%} of the time", flush=True)
        if used >= 1:
            break
    return {
        "pictures": steps * BATCH_SIZE,
        "parameters": sum(weight.numel() for weight in task.model.parameters()),
        **evaluate(task),
        "threads": torch.get_num_threads(),
        "device": f"{task.device} {task.dtype}",
    }


def evaluate(task) -> dict[str, Any]:
    """Mean losses on the held-out scenes, and the share of karts named right at their centres.

    Batch normalisation takes the statistics of the batch, as its own lag behind a short training.
    """
    import torch

    named = []

    def keep(head, given, scores) -> None:
        names = scores.flatten(0, 2)[:, 1:-4].argmax(-1)
        named.append((names[batch.fine.cells] == batch.fine.names).float())

    sums: dict[str, float] = dict.fromkeys(SHOWN, 0.0)
    hook = task.center_head.register_forward_hook(keep)
    for start in range(0, len(task.held_out), BATCH_SIZE):
        views = task.held_out[start : start + BATCH_SIZE]
        batch = task.data.batch(views, [])
        with torch.no_grad():
            losses = task.loss(batch)[1]
        for name in SHOWN:
            sums[name] += float(losses[name][0]) * len(views) / len(task.held_out)
    hook.remove()
    right = torch.cat(named)
    return {
        "scenes": len(task.held_out),
        "karts": len(right),
        "named": round(right.mean().item(), 4),
        "losses": {name: round(value, 4) for name, value in sums.items()},
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """All results as a Markdown table; pictures also as a ratio to the form that ships."""
    lines = [
        f"| stem | parameters | pictures | ratio | {' | '.join(SHOWN)} | karts named |",
        f"|---|---:|---:|---:|{'---:|' * (len(SHOWN) + 1)}",
    ]
    for form, row in results.items():
        baseline = results.get(BASELINE, row)["pictures"]
        losses = " | ".join(f"{row['losses'][name]:.3f}" for name in SHOWN)
        lines.append(
            f"| {form} | {row['parameters'] / 1e6:.1f}M | {row['pictures']:,} "
            f"| {row['pictures'] / baseline:.2f} | {losses} | {row['named']:.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_commands({"run": run})
