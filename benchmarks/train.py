"""python benchmarks/train.py [--data_dir data] [--split sample] [--shapes embedded smolvlm]

Training throughput in pairs per second, against the usual recipe (benchmarks/usual.py), on the same
frames with the same number of pairs per step. Each runs in its own process, for its peak memory.
They take turns; the ratio compares the best turn of each. SmolVLM-256M's shape has random weights.
A GPU wants some 64 frames in a step (--frames).
On a machine with other work, compare the CPU seconds ("cpu"), which count this process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import floor  # noqa: E402

WAYS = {
    "embedded": ("ours", "usual", "usual, no 2048", "ours, small passes", "ours, text side"),
    "smolvlm": ("ours", "ours, default passes", "usual", "usual, no 2048"),
}
FRAMES = {"embedded": 16, "smolvlm": 2}  # of a step
LARGE = 16_384  # patches and tokens of a pass: 50 frames of the embedded base
# Patches and tokens of a pass; 2,304 are 8 frames of the embedded base.
PASSES = {"": LARGE, "text side": LARGE, "small passes": 2304, "default passes": None}
DTYPE = "precision of matrix products; what the machine is fast in if omitted"
STEPS = {"embedded": 5, "smolvlm": 2}  # the first is not timed
SHAPES = {"embedded": floor.EMBEDDED, "smolvlm": floor.SMOLVLM}


def main() -> None:
    """Measure each way in its own process, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(ROOT / "data"))
    parser.add_argument("--split", default="sample")
    parser.add_argument("--shapes", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=sorted({*sum(WAYS.values(), ())}))
    parser.add_argument("--frames", type=int, help="of a step; by the shape if omitted")
    parser.add_argument("--steps", type=int, help="the first is not timed; by the shape if omitted")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help=DTYPE)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options, *options.child)
    for shape in options.shapes:
        if set(WAYS[shape]).isdisjoint(options.ways or WAYS[shape]):
            parser.error(f"--ways: {shape} has only {'; '.join(WAYS[shape])}")
    if options.turns < 1 or (options.steps or 2) < 2:
        parser.error("give a --turns of 1 or more and --steps of 2 or more")
    results: dict[str, dict[str, dict]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes:
            base = "embedded_base"
            if shape == "smolvlm":
                from benchmarks.smolvlm_shape import write_smolvlm_shape

                base = str(write_smolvlm_shape(Path(scratch) / "base"))
            ways = [way for way in WAYS[shape] if way in (options.ways or WAYS[shape])]
            runs = [
                (way, measure(options, shape, way, base, scratch))
                for _ in range(options.turns)
                for way in ways
            ]
            results[shape] = {
                way: max((run for name, run in runs if name == way), key=lambda r: r["pairs_s"])
                for way in ways
            }
            table(shape, results[shape])
    print(
        json.dumps(
            {
                "benchmark": "train",
                "config": {name: value for name, value in vars(options).items() if name != "child"},
                "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
                "results": results,
            }
        )
    )


def measure(options, shape: str, way: str, base: str, scratch: str) -> dict:
    """Run one way in a process of its own."""
    command = [sys.executable, __file__, "--data_dir", options.data_dir, "--split", options.split]
    for name in ("frames", "steps", "dtype"):
        if value := getattr(options, name):
            command += [f"--{name}", str(value)]
    command += ["--child", shape, way, base, str(time.time())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{shape}, {way}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def table(shape: str, results: dict[str, dict]) -> None:
    """One shape's results, against the usual recipe."""
    usual = results.get("usual") or next(iter(results.values()))
    bound = floor.training_flops(SHAPES[shape], floor.PAIRS, False) / floor.training_flops(
        SHAPES[shape], floor.PAIRS, True
    )
    first = next(iter(results.values()))
    print(
        f"\n{SHAPES[shape].name}: {first['pairs']} pairs on {first['frames']} frames a step, "
        f"{first['precision']}, sharing's arithmetic bound {bound:.1f}x"
    )
    print(
        f"{'':18}{'pairs/s':>9}{'frames/s':>10}{'ratio':>8}{'cpu':>8}{'peak GB':>9}{'ratio':>7}"
        f"{'loaded GB':>11}{'of peak':>9}{'first step s':>14}{'cpu':>6}"
    )
    for way, run in results.items():
        print(
            f"{way:18}{run['pairs_s']:9.2f}{run['frames_s']:10.2f}"
            f"{run['pairs_s'] / usual['pairs_s']:7.2f}x"
            f"{run['pairs_cpu_s'] / usual['pairs_cpu_s']:7.2f}x{run['peak_bytes'] / 1e9:9.2f}"
            f"{run['peak_bytes'] / usual['peak_bytes']:7.2f}{run['loaded_bytes'] / 1e9:11.2f}"
            f"{run['utilisation']:9.1%}{run['first_step_s']:14.1f}{run['first_step_cpu_s']:6.1f}"
        )


# --- one way, in its own process ---


def child(options, shape: str, way: str, base: str, started: str) -> None:
    """Train for some steps and print what was measured."""
    import torch

    from homework.common import machine
    from homework.data import VQADataset

    frames, steps = options.frames or FRAMES[shape], options.steps or STEPS[shape]
    if options.dtype:
        chosen = machine.choose()._replace(dtype=getattr(torch, options.dtype))
        machine.choose = lambda: chosen._replace(reason=f"{chosen.device}, {options.dtype}")
    items = [dict(item) for item in VQADataset(options.split, options.data_dir)]
    counts = Counter(item["image_path"] for item in items)
    paths, number = sorted(counts), frames * steps
    if number < 16:  # few frames: by turns with just less and just more pairs than the average
        near = sorted(paths, key=lambda path: abs(counts[path] - floor.PAIRS))
        sides = ([p for p in near if (counts[p] > floor.PAIRS) == more] for more in (False, True))
        paths = [path for both in zip(*sides, strict=False) for path in both]
    else:  # spread over the split: neighbours show the same karts
        paths = paths[:: max(1, len(paths) // number)]
    paths = paths[:number]
    items = [item for item in items if item["image_path"] in set(paths)]
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        run = ours if way.startswith("ours") else usual
        where, precision = run(items, base, frames, steps, way, Path(output), clock)
    seconds, cpu_seconds = (clock.steps[-1][i] - clock.steps[0][i] for i in range(2))
    pairs = len(items) * (steps - 1) / steps
    per_frame = len(items) / len(paths)
    training = floor.training_flops(SHAPES[shape], per_frame, way.startswith("ours"))
    if "text side" in way:  # the vision tower has no backward pass
        training -= (
            floor.vision_flops(SHAPES[shape]) - floor.stem_flops(SHAPES[shape])
        ) / per_frame
    from benchmarks.memory import peak_memory_bytes

    first = clock.steps[0]
    measured = {
        "pairs": round(len(items) / steps, 1),
        "frames": frames,
        "precision": precision,
        "pairs_s": round(pairs / seconds, 3),
        "pairs_cpu_s": round(pairs / cpu_seconds, 3),
        "frames_s": round(pairs / seconds * len(paths) / len(items), 3),
        "peak_bytes": peak_memory_bytes(),
        "loaded_bytes": clock.loaded,
        "first_step_s": round(first[0] + time.time() - time.perf_counter() - float(started), 2),
        "first_step_cpu_s": round(first[1], 2),
    }
    measured["utilisation"] = round(pairs / seconds * training / matrix_peak(where), 4)
    print(json.dumps(measured))


class Clock:
    """Seconds and CPU seconds at the end of each step, and the memory before the first."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self.loaded = 0

    def begin(self, *args, **kwargs) -> None:
        """The model is loaded, training begins."""
        if not self.steps:
            from benchmarks.memory import peak_memory_bytes

            self.loaded = peak_memory_bytes()

    def step(self, *args, **kwargs) -> None:
        """A step has ended."""
        self.steps.append((time.perf_counter(), time.process_time()))


def ours(items, base, frames, steps, way, output, clock):
    """The package's own command, without a held-out share."""
    from homework.common import machine
    from homework.model.vlm import BaseVLM
    from homework.training import run
    from homework.training.config import TrainConfig
    from homework.training.loop import Loop

    optimizer_step = Loop._optimizer_step

    def timed(self: Loop, micro_batches: Sequence) -> dict[str, float]:
        clock.begin()
        result = optimizer_step(self, micro_batches)
        clock.step()
        return result

    Loop._optimizer_step = timed
    run.HELD_OUT = 0
    vlm = BaseVLM(base)
    config = TrainConfig(
        base=base,
        learning_rate=1e-3,
        per_device_train_batch_size=frames,
        train_vision="text side" not in way,
        max_steps=steps,
        tokens_per_pass=PASSES[way.removeprefix("ours").removeprefix(", ")],
    )
    run.fit(items, vlm, output, config)
    return (vlm.device, vlm.dtype), machine.choose()[2]


def usual(items, base, frames, steps, way, output, clock):
    """transformers' Trainer on one-question samples."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    from benchmarks import usual
    from homework.common import machine
    from homework.model import adapter

    class Timed(TrainerCallback):
        on_train_begin = staticmethod(clock.begin)
        on_step_end = staticmethod(clock.step)

    vlm = usual.load(base, first_resize="no 2048" not in way)
    pairs = [(item["image_path"], item["question"], item["answer"]) for item in items]
    trainer = Trainer(
        model=adapter.add_lora(vlm, r=16, lora_alpha=32),
        args=TrainingArguments(
            output_dir=str(output),
            per_device_train_batch_size=-(-len(pairs) // steps),
            max_steps=steps,
            learning_rate=5e-4,
            bf16=vlm.dtype == torch.bfloat16,
            fp16=vlm.dtype == torch.float16,
            use_cpu=vlm.device == "cpu",
            save_strategy="no",
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=pairs,
        data_collator=usual.Collator(vlm.processor),
        callbacks=[Timed()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    device, dtype, reason = machine.choose()
    return (device, dtype), reason


def matrix_peak(where) -> float:
    """Operations per second of a large matrix product, in the precision of the training."""
    import torch

    device, dtype = where
    size = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        start = time.perf_counter()
        product = left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best if product.isfinite().all() else float("nan")


if __name__ == "__main__":
    main()
