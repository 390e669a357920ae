"""python benchmarks/lock.py SUBMISSION.zip [--split valid_grader] [--repeats 5]

Measures what the grader's lock costs: whole gradings of one submission, in turns locked and
with `--open` (the baseline).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Grade in turns, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("submission", type=Path)
    parser.add_argument("--split", default="valid_grader")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    command = [sys.executable, "-m", "grader", str(options.submission.resolve())]
    command += ["--split", options.split, "--data_dir", str(options.data_dir.resolve())]
    ways = {"locked": [], "open (baseline)": ["--open"]}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats + 1):  # the first round warms the file cache
        for name, flags in ways.items():
            before, start = _children_cpu(), time.perf_counter()
            subprocess.run([*command, *flags], cwd=ROOT, check=True, capture_output=True)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(_children_cpu() - before)
    medians = {
        name: (statistics.median(wall[name][1:]), statistics.median(cpu[name][1:])) for name in ways
    }
    base_wall, base_cpu = medians["open (baseline)"]
    print(f"{'':18}{'wall s':>9}{'ratio':>8}{'CPU s':>9}{'ratio':>8}")
    for name, (seconds, used) in medians.items():
        print(f"{name:18}{seconds:9.2f}{seconds / base_wall:8.3f}{used:9.2f}{used / base_cpu:8.3f}")
    print(
        json.dumps(
            {
                "benchmark": "lock",
                "config": {"split": options.split, "repeats": options.repeats},
                "machine": f"{platform.system()} {platform.machine()}",
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
                "wall_seconds": {name: [round(s, 3) for s in wall[name][1:]] for name in ways},
                "cpu_seconds": {name: [round(s, 3) for s in cpu[name][1:]] for name in ways},
                "wall_ratio": round(medians["locked"][0] / base_wall, 4),
                "cpu_ratio": round(medians["locked"][1] / base_cpu, 4),
                "peak_memory_kb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
            }
        )
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
