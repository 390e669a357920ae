"""python benchmarks/report.py CHECKPOINT --data_dir DATA [--split train] [--per_kind 600]

Measures how long the report of 3,000 samples takes in addition to answering, how large it is, and
how soon a browser shows it and filters its samples. The questions are drawn from the frames of the
split, the five kinds in equal shares. Use real frames: drawn ones compress better.

    answers   the baseline: the model answers all the questions
    base      the base alone answers all the questions, too
    scores    the probabilities of all possible answers, in addition to answering
    labels    frames' labels, (track, kart) pairs of training, majority baseline
    report    heat maps, pictures, page
    open      from the browser's start to navigate until the page is drawn (median of three)
    filter    CPU time of the page from a change of the address until its samples are drawn: the
              slowest of some filters, searches and orders (median of three each)
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

from homework.base_vlm import BaseVLM, load
from homework.common.files import write_json
from homework.data import VQADataset
from homework.evaluation.about import about_adapter
from homework.evaluation.measure import heat_maps, measure, write_page
from homework.frames.balance import balanced_pairs
from homework.frames.split import list_split
from homework.model.likelihood import ScoringModel

# Ends with the frame after the one in which the samples were drawn.
FILTER = """state => new Promise(done => {
  addEventListener("hashchange", () => requestAnimationFrame(() => requestAnimationFrame(done)),
    { once: true });
  location.hash = state;
})"""
STATES = ("result=wrong", "search=tux+left", "kind=count&karts=2", "sort=smallest+kart+first", "")


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
        asked = (VQADataset("asked", data_dir), None, given.split, given.split)
        marks = [now()]
        seconds = measure(vlm, *asked).seconds
        marks.append(now())
        measured = measure(ScoringModel(vlm), *asked)
        marks.append(now())
        about = about_adapter(vlm.adapter, data_dir)
        write_page(out, measured, about, (), heat_maps(vlm, measured, given.heat_maps))
        marks.append(now())
        base = BaseVLM(vlm.folder, verbose=False)
        samples = measured.result.samples
        base.answer([s.image_path for s in samples], [s.question for s in samples])
        marks.append(now())
        opened, filtered = browsing(out / "index.html")
        megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    # Both calls of `measure` look up the labels; what they differ by is the scores.
    (plain, plain_cpu), (both, both_cpu), (page, page_cpu), alone = (
        (end[0] - start[0], end[1] - start[1]) for start, end in pairwise(marks)
    )
    labels = plain - seconds
    share = seconds / plain
    table = {
        "answers": (seconds, plain_cpu * share),
        "base": alone,
        "scores": (both - plain, both_cpu - plain_cpu),
        "labels": (labels, plain_cpu * (1 - share)),
        "report": (page, page_cpu),
    }
    print(f"{'part':10}{'seconds':>9}{'CPU s':>9}{'CPU / answers':>15}")
    for part, (clock, cpu) in table.items():
        print(f"{part:10}{clock:9.2f}{cpu:9.2f}{cpu / table['answers'][1]:15.2f}")
    print(
        f"{len(drawn):,} samples, {megabytes:.1f} MB"
        + (
            f", opens in {opened:.2f} s, filters in {1000 * filtered:.0f} ms of CPU"
            if opened
            else ""
        )
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
        "filter_cpu_seconds": filtered and round(filtered, 4),
        "beyond_answering_ratio": round(
            sum(table[part][1] for part in ("base", "scores", "labels", "report"))
            / table["answers"][1],
            3,
        ),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": vlm.device,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "pillow")},
    }
    print(json.dumps(record))


def now() -> tuple[float, float]:
    """The clock, and the CPU time of this process, which says more on a busy machine."""
    return time.perf_counter(), time.process_time()


def browsing(page: Path) -> tuple[float | None, float | None]:
    """Seconds to open the page and to filter it, or None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None, None
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not executable:
        return None, None
    times, filters = [], {state: [] for state in STATES}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for _ in range(3):
            tab = browser.new_page()
            start = time.perf_counter()
            tab.goto(f"file://{page}")
            tab.wait_for_selector("html[data-ready]")
            times.append(time.perf_counter() - start)
            protocol = tab.context.new_cdp_session(tab)
            protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
            for state in STATES:
                start = _cpu(protocol)
                tab.evaluate(FILTER, state)
                filters[state].append(_cpu(protocol) - start)
            tab.close()
        browser.close()
    return statistics.median(times), max(map(statistics.median, filters.values()))


def _cpu(protocol) -> float:
    """Seconds that the page's main thread has worked."""
    metrics = protocol.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


if __name__ == "__main__":
    main()
