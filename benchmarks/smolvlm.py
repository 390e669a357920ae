"""python benchmarks/smolvlm.py [--frames 2] [--questions 8] [--train_steps 2]

SmolVLM-256M-Instruct's shape, all its layers, with random weights: that the kit's own path
runs on it, what that takes, and `answer` on grouped questions against one `generate` a
question (the baseline). Random weights never stop, so each answer has all its tokens.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.smolvlm_shape import write_smolvlm_shape
from homework import finetune
from homework.base_vlm import BaseVLM
from homework.data import VQADataset
from homework.generate_qa import generate
from homework.labels import questions
from homework.training.trainer import peak_memory_bytes

ROOT = Path(__file__).resolve().parent.parent
ASKED = [questions.EGO, questions.COUNT, questions.TRACK] + [
    questions.HOW_MANY.format(region) for region in questions.REGIONS
]


def main() -> None:
    """Build, answer both ways, train; print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--questions", type=int, default=8, help="of each frame")
    parser.add_argument("--train_steps", type=int, default=2)
    parser.add_argument("--layers", type=int, nargs=2, default=(12, 30), help="vision, text")
    options = parser.parse_args()
    sample = ROOT / "data" / "sample"
    generate(str(sample))  # what `train` reads
    pictures = sorted(sample.glob("*_im.jpg"))[: options.frames]
    asked = [(str(p), ASKED[i % len(ASKED)]) for p in pictures for i in range(options.questions)]
    seconds = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = write_smolvlm_shape(Path(scratch) / "base", *options.layers)
        start = time.perf_counter()
        vlm = BaseVLM(base)
        seconds["load"] = time.perf_counter() - start
        vlm.answer(*zip(*asked[:1], strict=True))  # warm-up
        start = time.perf_counter()
        together = vlm.answer(*zip(*asked, strict=True))
        seconds["answer"] = time.perf_counter() - start
        start = time.perf_counter()
        alone = [vlm.generate(*pair) for pair in asked]
        seconds["one at a time (baseline)"] = time.perf_counter() - start
        parameters = sum(weight.numel() for weight in vlm.model.parameters())
        precision = f"{vlm.device} {vlm.dtype}"
        del vlm
        start = time.perf_counter()
        finetune.train(
            str(ROOT / "data"),
            "sample",
            str(Path(scratch) / "adapter"),
            base=str(base),
            per_device_train_batch_size=2,
            max_steps=options.train_steps,
            max_samples=20,
        )
        seconds["train, start-up included"] = time.perf_counter() - start
        pairs = len(VQADataset("sample", ROOT / "data"))
    ratio = seconds["one at a time (baseline)"] / seconds["answer"]
    agreement = sum(a == b for a, b in zip(together, alone, strict=True)) / len(asked)
    print(f"\n{parameters / 1e6:.0f}M parameters, {len(asked)} questions on {len(pictures)} frames")
    for name, value in seconds.items():
        print(f"{name:28}{value:9.2f} s")
    print(f"answer: {ratio:.2f} x the baseline's speed, {agreement:.0%} the same answers")
    print(
        json.dumps(
            {
                "benchmark": "smolvlm",
                "config": vars(options),
                "parameters": parameters,
                "device": precision,
                "machine": f"{platform.system()} {platform.machine()}",
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
                "seconds": {name: round(value, 3) for name, value in seconds.items()},
                "answer_over_baseline": round(ratio, 3),
                "same_answers": agreement,
                "sample_pairs": pairs,
                "peak_memory_bytes": peak_memory_bytes(),
            }
        )
    )


if __name__ == "__main__":
    main()
