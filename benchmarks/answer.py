"""python benchmarks/answer.py [--data_dir data] [--split sample_valid] [--checkpoint FOLDER]

Answering throughput in questions per second, against the usual recipe (benchmarks/usual.py:
batches in the order given, each question with its image through the processor, `generate`).
Both use the same model and take turns, on two mixes: the questions of a split, several per
image, and one question per image. Counts how many answers are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import floor, usual  # noqa: E402
from benchmarks.memory import peak_memory_bytes  # noqa: E402
from homework.base_vlm import BaseVLM, load  # noqa: E402
from homework.data import VQADataset  # noqa: E402
from homework.model import attention, generation  # noqa: E402

BATCH = 16  # of the usual recipe


def main() -> None:
    """Answer both mixes in each way, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(ROOT / "data"))
    parser.add_argument("--split", default="sample_valid")
    parser.add_argument("--checkpoint", help="an adapter; the embedded base alone without one")
    parser.add_argument("--questions", type=int, default=240, help="of each mix")
    parser.add_argument("--usual", type=int, default=64, help="of these, asked in the usual way")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    vlm = load(options.checkpoint) if options.checkpoint else BaseVLM("embedded_base")
    items = [dict(item) for item in VQADataset(options.split, options.data_dir)]
    images = {item["image_path"]: item for item in items}
    mixes = {"natural mix": items, "distinct images": list(images.values())}
    results = {}
    own_size = dict(vlm.processor.image_processor.size)
    for mix, asked in mixes.items():
        some = [(item["image_path"], item["question"]) for item in asked[: options.questions]]
        found: dict[str, dict] = {}
        for _ in range(options.turns):
            for way in ("ours", "usual", "usual, no 2048"):
                run = turn(vlm, way, some if way == "ours" else some[: options.usual], own_size)
                if way not in found or run["cpu_s"] / run["questions"] < (
                    found[way]["cpu_s"] / found[way]["questions"]
                ):
                    found[way] = run
        results[mix] = found
        table(mix, found, len({path for path, _ in some}) / len(some))
    for found in results.values():
        for run in found.values():
            del run["answers"]
    print(
        json.dumps(
            {
                "benchmark": "answer",
                "config": vars(options),
                "device": f"{vlm.device} {vlm.dtype}",
                "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
                "results": results,
                "peak_memory_bytes": peak_memory_bytes(),
            }
        )
    )


def turn(vlm: BaseVLM, way: str, asked: list[tuple[str, str]], own_size: dict) -> dict:
    """Answer the questions in one way; answers and seconds."""
    image_processor = vlm.processor.image_processor
    image_processor.size = {"longest_edge": usual.FIRST_RESIZE} if way == "usual" else own_size
    if way == "ours":
        attention.use(vlm.network)
        vlm.answer(*zip(*asked[:4], strict=True))  # warm-up
    else:
        vlm.network.set_attn_implementation("sdpa")
        usual.answer(vlm, asked[:1], BATCH, generation.MAX_NEW_TOKENS)
    start, cpu = time.perf_counter(), time.process_time()
    if way == "ours":
        answers = vlm.answer(*zip(*asked, strict=True))
    else:
        answers = usual.answer(vlm, asked, BATCH, generation.MAX_NEW_TOKENS)
    return {
        "answers": answers,
        "questions": len(asked),
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
    }


def table(mix: str, found: dict[str, dict], images: float) -> None:
    """One mix; `images` a question."""
    bound = floor.pair_flops(floor.EMBEDDED, 1, False) / floor.pair_flops(
        floor.EMBEDDED, 1 / images, True
    )
    print(f"\n{mix}: {images:.2f} images a question, sharing's arithmetic bound {bound:.1f}x")
    print(f"{'':18}{'questions/s':>12}{'ratio':>8}{'cpu':>8}{'the same answers as ours':>26}")
    plain = found["usual"]
    for way, run in found.items():
        same = [a == b for a, b in zip(run["answers"], found["ours"]["answers"], strict=False)]
        run["ratio"] = rate(run, "seconds") / rate(plain, "seconds")
        run["cpu_ratio"] = rate(run, "cpu_s") / rate(plain, "cpu_s")
        run["same_answers"] = sum(same) / len(same)
        print(
            f"{way:18}{rate(run, 'seconds'):12.1f}{run['ratio']:7.2f}x{run['cpu_ratio']:7.2f}x"
            f"{run['same_answers']:26.1%}"
        )


def rate(run: dict, clock: str) -> float:
    """Questions a second by this clock."""
    return run["questions"] / run[clock]


if __name__ == "__main__":
    main()
