"""python benchmarks/report.py CHECKPOINT --data_dir DATA [--split train] [--per_kind 600]

How long the report of 3,000 samples takes beyond answering, how large it is, and how soon a
browser shows it. The questions are drawn from the split's frames, the five kinds in equal
shares; the frames are real ones, as drawn ones compress better.

    answers   the baseline: the model answers all the questions
    scores    the probabilities of every answer there could be, beyond answering
    labels    frames' labels, (track, kart) pairs of training, majority baseline
    report    heat maps, pictures, page
    open      from the browser's start to navigate until the page is drawn (median of three)
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homework.base_vlm import load
from homework.common.files import write_json
from homework.evaluation.measure import VQADataset, measure, write_page
from homework.frames.balance import balanced_pairs
from homework.frames.split import list_split


def main() -> None:
    """Measure once, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--per_kind", type=int, default=600)
    parser.add_argument("--heat_maps", type=int, default=200)
    given = parser.parse_args()
    vlm = load(given.checkpoint)
    drawn, _ = balanced_pairs(list_split(Path(given.data_dir) / given.split), given.per_kind)
    with tempfile.TemporaryDirectory() as folder:
        data_dir, out = Path(folder) / "data", Path(folder) / "out"
        data_dir.mkdir()
        for split in Path(given.data_dir).iterdir():
            (data_dir / split.name).symlink_to(split.resolve())
        write_json(data_dir / "asked" / "asked_qa_pairs.json", drawn)
        asked = (vlm, VQADataset("asked", data_dir), None, given.split, given.split)
        marks = [now()]
        seconds = measure(*asked).seconds
        marks.append(now())
        measured = measure(*asked, scored=True)
        marks.append(now())
        write_page(out, measured, vlm, given.checkpoint, None, given.heat_maps)
        marks.append(now())
        opened = opening(out / "index.html")
        megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    # Both calls of `measure` look up the labels; what they differ by is the scores.
    (plain, plain_cpu), (both, both_cpu), (page, page_cpu) = (
        (end[0] - start[0], end[1] - start[1]) for start, end in pairwise(marks)
    )
    labels = plain - seconds
    share = seconds / plain
    table = {
        "answers": (seconds, plain_cpu * share),
        "scores": (both - plain, both_cpu - plain_cpu),
        "labels": (labels, plain_cpu * (1 - share)),
        "report": (page, page_cpu),
    }
    print(f"{'part':10}{'seconds':>9}{'CPU s':>9}{'CPU / answers':>15}")
    for part, (clock, cpu) in table.items():
        print(f"{part:10}{clock:9.2f}{cpu:9.2f}{cpu / table['answers'][1]:15.2f}")
    print(
        f"{len(drawn):,} samples, {megabytes:.1f} MB"
        + (f", opens in {opened:.2f} s" if opened else "")
    )
    record = {
        "benchmark": "report",
        "config": vars(given) | {"checkpoint": Path(given.checkpoint).name, "data_dir": ""},
        "samples": len(drawn),
        "pictures": len({pair["image_file"] for pair in drawn}),
        "megabytes": round(megabytes, 2),
        "seconds": {part: round(clock, 2) for part, (clock, _) in table.items()},
        "cpu_seconds": {part: round(cpu, 2) for part, (_, cpu) in table.items()},
        "open_seconds": opened and round(opened, 2),
        "beyond_answering_ratio": round(
            sum(table[part][1] for part in ("scores", "labels", "report")) / table["answers"][1], 3
        ),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": vlm.device,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "pillow")},
    }
    print(json.dumps(record))


def now() -> tuple[float, float]:
    """The clock, and the CPU time of this process: on a busy machine the second says more."""
    return time.perf_counter(), time.process_time()


def opening(page: Path) -> float | None:
    """Seconds, or None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not executable:
        return None
    times = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for _ in range(3):
            tab = browser.new_page()
            start = time.perf_counter()
            tab.goto(f"file://{page}")
            tab.wait_for_selector("html[data-ready]")
            times.append(time.perf_counter() - start)
            tab.close()
        browser.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
