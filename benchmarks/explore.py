"""python benchmarks/explore.py [--data_dir data/sample] [--pairs 100000] [--num_workers N]

Measures the page of `generate_qa explore`: how long it takes to write, how large it is, how soon a
browser shows it, and how soon it shows what a search finds. The frames of the folder are taken,
over and over where it has too few, until they have that many pairs.

    build    seconds to write the page; baseline: every picture decoded once
    open     from the browser's start to navigate until the page is drawn (median of three);
             baseline: the page of a single info file
    search   from a letter typed until what it finds is drawn (median and slowest of the words)

Clock seconds grow on a busy machine; CPU seconds are those of the page's main thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homework.common.files import DATA_DIR
from homework.common.workers import num_cores
from homework.frames.pictures import open_picture
from homework.frames.split import INFO_SUFFIX, Skipped, info_name, list_split, read_frames
from homework.inspection.explore import PAGE, PICTURES, explore_split
from homework.labels.questions import pairs

WORDS = ("g", "gn", "gnu", "left or right", "behind 2", "abyss", "0000", "found nowhere", "")
# Types into the box and waits until the page has drawn; the state of the page is in its address.
SEARCH = """async (text) => {
  const box = document.querySelector("[name=search]");
  box.focus();
  const start = performance.now();
  box.value = text;
  box.dispatchEvent(new Event("input"));
  await new Promise((done) => addEventListener("hashchange", done, { once: true }));
  document.body.getBoundingClientRect();
  return (performance.now() - start) / 1000;
}"""


def main() -> None:
    """Measure once, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(DATA_DIR / "sample"))
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--num_workers", type=int, default=num_cores())
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for name, number in (("one", 1), ("whole", given.pairs)):
            split = Path(folder) / name / "train"
            num_pairs, pictures = link_frames(Path(given.data_dir), split, number)
            start = time.perf_counter()
            explore_split(list_split(split), Path(folder) / name, given.num_workers)
            made[name] = Path(folder) / name / PAGE, time.perf_counter() - start
        start = time.perf_counter()
        for picture in pictures:
            open_picture(picture)
        decoding = time.perf_counter() - start
        page, seconds = made["whole"]
        parts = [page, *(page.parent / PICTURES).iterdir()]
        megabytes = [file.stat().st_size / 1e6 for file in parts]
        baseline, opened, found = in_browser(made["one"][0], page)
    print(f"{num_pairs:,} pairs, {len(pictures):,} pictures: {sum(megabytes):.1f} MB")
    print(f"{'part':12}{'seconds':>9}{'CPU s':>9}{'baseline s':>12}")
    print(f"{'build':12}{seconds:9.2f}{'':9}{decoding:12.2f}")
    if opened:
        print(f"{'open':12}{opened[0]:9.2f}{opened[1]:9.2f}{baseline[0]:12.2f}")
        for name, choose in (("search", statistics.median), ("slowest", max)):
            clock, cpu = (choose(values) for values in zip(*found.values(), strict=True))
            print(f"{name:12}{clock:9.3f}{cpu:9.3f}")
    record = {
        "benchmark": "explore",
        "config": vars(given) | {"data_dir": Path(given.data_dir).name},
        "pairs": num_pairs,
        "pictures": len(pictures),
        "megabytes": round(sum(megabytes), 1),
        "page_megabytes": round(megabytes[0], 2),
        "build_seconds": round(seconds, 2),
        "decode_seconds": round(decoding, 2),
        "open_seconds": opened,
        "open_baseline_seconds": baseline,
        "search_seconds": found,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load": [round(value, 1) for value in os.getloadavg()],
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("pillow", "numpy")},
    }
    print(json.dumps(record))


def link_frames(source: Path, folder: Path, num_pairs: int) -> tuple[int, list[Path]]:
    """Fill a folder with links to frames, at least one, until they have `num_pairs` pairs.

    Returns:
        The number of pairs, and the pictures linked to, with repeats.
    """
    split, total, pictures = list_split(source), 0, []
    folder.mkdir(parents=True)
    frames = [
        (name, frame)
        for name in split.info_files
        for frame in read_frames(split, [name], Skipped())
        if frame.views
    ]
    for number, (name, frame) in enumerate(cycle(frames)):
        if total >= num_pairs:
            break
        stem, new = name.removesuffix(INFO_SUFFIX), info_name(number)
        (folder / new).symlink_to((source / name).resolve())
        for picture, scene in frame.views:
            linked = folder / picture.replace(stem, new.removesuffix(INFO_SUFFIX), 1)
            linked.symlink_to((source / picture).resolve())
            pictures.append(linked.resolve())
            total += sum(1 for _ in pairs(scene))
    return total, pictures


Times = tuple[float, float]  # seconds by the clock, CPU seconds of the page's main thread


def in_browser(small: Path, page: Path) -> tuple[Times, Times, dict[str, Times]] | tuple:
    """Times to open both pages, and of each search; three times None where there is no browser."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if not executable:
        print("no browser here: apt-get install chromium")
        return None, None, None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        opening(browser, small)  # the browser's own first page is slower than the others
        baseline = median([opening(browser, small)[0] for _ in range(3)])
        tries = [opening(browser, page) for _ in range(3)]
        tab, cpu = tries[-1][1]
        found = {}
        for text in WORDS:
            before = cpu()
            seconds = tab.evaluate(SEARCH, text)
            found[text] = round(seconds, 3), round(cpu() - before, 3)
        browser.close()
    return baseline, median([times for times, _ in tries]), found


def opening(browser, page: Path):
    """Times to open a page; and the tab, with a function that tells its CPU seconds so far."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cpu() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    start = time.perf_counter()
    tab.goto(f"file://{page}")
    tab.wait_for_selector("html[data-ready]")
    return (time.perf_counter() - start, cpu()), (tab, cpu)


def median(times: list[Times]) -> Times:
    return tuple(round(statistics.median(values), 3) for values in zip(*times, strict=True))


if __name__ == "__main__":
    main()
