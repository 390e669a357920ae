"""python benchmarks/startup.py [--repeats 5]

Measures how soon a command prints anything: `--help` of each module and `import homework`, as
whole processes, against an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = "python -c pass"
COMMANDS = {
    BASELINE: ["-c", "pass"],
    "import homework": ["-c", "import homework"],
    **{
        f"{module} --help": ["-m", module, "--help"]
        for module in (
            "homework.generate_qa",
            "homework.finetune",
            "homework.base_vlm",
            "lab.pretrain",
            "lab.record",
            "homework.download",
            "homework.evaluate",
            "homework.demo",
            "grader",
        )
    },
}


def main() -> None:
    """Time every command in turns, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):  # the first round warms the file cache
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{'command':34}{'median s':>10}{'/ bare':>8}")
    for name, median in medians.items():
        print(f"{name:34}{median:10.3f}{median / medians[BASELINE]:8.1f}")
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "repeats": repeats,
                "python": platform.python_version(),
                "machine": f"{platform.system()} {platform.machine()}",
                "seconds": {name: round(median, 4) for name, median in medians.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
