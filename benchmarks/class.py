"""Grade a mixed class: seconds, memory, and whether any submission changes another's score.

    python benchmarks/class.py [--submissions 100] [--jobs 1 2 4] [--kills 10] [--seed 0]

The class (`mixed_class.py`) is half the shipped model, made worse by a different share each, three
tenths hostile and two tenths broken. It is graded
- with each number of --jobs: all tables must be equal but for the seconds;
- without the hostile and broken ones: the others' rows must be the same;
- with --kills kills (SIGKILL) at random moments, each followed by --resume: the same table.

Ends with a table and one line of JSON; exit code 1 if a table differs or something is left over.
Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import mixed_class
from mixed_class import ROOT

from homework.common.workers import num_cores

Table = dict[str, dict[str, str]]  # file -> its row


class Run(NamedTuple):
    """One grading of the class."""

    table: Table
    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Bench:
    """Gradings of classes in a folder.

    Args:
        folder: for classes, tables and temporary files.
        options: the command line.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder, self._options = folder, options
        (folder / "tmp").mkdir()

    def command(self, room: Path, output: Path, jobs: int) -> subprocess.Popen:
        """Start a grading."""
        o = self._options
        words = ["class", str(room), "--output", str(output), "--jobs", str(jobs), "--resume"]
        words += ["--split", o.split, "--data_dir", str(o.data_dir.resolve())]
        words += ["--time_limit", str(o.time_limit), "--memory", str(o.memory)]
        return subprocess.Popen(
            [sys.executable, "-m", "grader", *words],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(self._folder / "tmp")},
            stdout=subprocess.DEVNULL,
        )

    def grade(self, room: Path, name: str, jobs: int) -> Run:
        """Grade a class from nothing, to the end."""
        output, start, before = self._folder / f"{name}.csv", time.monotonic(), _cpu_seconds()
        process, peak = self.command(room, output, jobs), 0
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, _family(process.pid))))
            time.sleep(1)
        if process.returncode:
            raise SystemExit(f"the grading {name} ended with exit code {process.returncode}")
        seconds = time.monotonic() - start
        return Run(_read(output), seconds, _cpu_seconds() - before, peak)

    def grade_with_kills(self, room: Path, jobs: int) -> tuple[Table, list[int]]:
        """Kill it at random moments, and let it end then.

        A moment is a random number of results on disk, and up to two seconds.

        Returns:
            The table, and the number of results on disk at each kill.
        """
        rng, output, kept = random.Random(self._options.seed), self._folder / "killed.csv", []
        count, kills = self._options.submissions, self._options.kills
        for target in sorted(rng.choices(range(count), k=kills)):
            process = self.command(room, output, jobs)
            while _results(output) < target and process.poll() is None:
                time.sleep(0.05)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 2))
            family = _family(process.pid)
            process.kill()
            process.wait()
            _wait_until_gone(family)
            kept.append(_results(output))
        self.command(room, output, jobs).wait()
        return _read(output), kept

    def left_over(self) -> list[str]:
        """What gradings that were not killed have left in their folder for temporary files."""
        return sorted(path.name for path in (self._folder / "tmp").iterdir())


def main() -> int:
    """Run the command line; returns the exit code."""
    options = _parse()
    folder = Path(tempfile.mkdtemp(prefix="class-", dir=options.folder))
    bench = Bench(folder, options)
    room, peaceful = folder / "class", folder / "peaceful"
    sorts = mixed_class.make(room, options.submissions, options.seed, options.time_limit)
    peaceful.mkdir()
    good = [name for name, sort in sorts.items() if sort == "good"]
    for name in good:
        shutil.copy(room / name, peaceful / name)

    runs = {jobs: bench.grade(room, f"jobs{jobs}", jobs) for jobs in options.jobs}
    first, most = runs[options.jobs[0]], max(options.jobs)
    faults = []
    print(f"{'jobs':>5}{'seconds':>10}{'CPU s':>10}{'peak GB':>10}{'rows that differ':>18}")
    for jobs, run in runs.items():
        differ = _differences(first.table, run.table)
        faults += [f"jobs {jobs}: {line}" for line in differ]
        peak = run.peak_bytes / 1e9
        print(
            f"{jobs:>5}{run.seconds:>10.1f}{run.cpu_seconds:>10.1f}{peak:>10.2f}{len(differ):>18}"
        )
    alone = bench.grade(peaceful, "peaceful", most)
    differ = _differences({name: first.table[name] for name in good}, alone.table)
    faults += [f"without hostile ones: {line}" for line in differ]
    print(f"good ones without the others: {len(differ)} of {len(good)} rows differ")
    faults += [f"left over: {name}" for name in bench.left_over()]
    kept: list[int] = []
    if options.kills:
        table, kept = bench.grade_with_kills(room, most)
        differ = _differences(first.table, table)
        faults += [f"after kills: {line}" for line in differ]
        print(f"{options.kills} kills with {kept} results on disk: {len(differ)} rows differ")
    for line in faults:
        print(line)
    print(json.dumps(_record(options, runs, kept, faults)))
    if options.keep:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 1 if faults else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--submissions", type=int, default=100)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="valid_grader")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data")
    parser.add_argument("--time_limit", type=float, default=60)
    parser.add_argument("--memory", type=float, default=4, help="GB for each submission")
    parser.add_argument("--folder", type=Path, help="where the class is made (temporary files)")
    parser.add_argument("--keep", action="store_true", help="keep the class and its tables")
    return parser.parse_args()


def _read(output: Path) -> Table:
    with open(output, newline="") as file:
        return {row["file"]: row | {"seconds": ""} for row in csv.DictReader(file)}


def _results(output: Path) -> int:
    """How many results of a class are on disk."""
    journal = output.with_suffix(".results.jsonl")
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _differences(expected: Table, found: Table) -> list[str]:
    return [
        f"{name}: {row['total']} {row['reason']} / "
        + (f"{found[name]['total']} {found[name]['reason']}" if name in found else "no row")
        for name, row in expected.items()
        if found.get(name) != row
    ]


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _memory(pid: int) -> int:
    """Bytes that a process has in use; of memory that several share, its part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(text.partition("\nPss:")[2].split()[0]) * 1024


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and _memory(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise SystemExit(f"processes of a killed grading live on: {pids}")
        time.sleep(0.05)


def _cpu_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _record(
    options: argparse.Namespace, runs: dict[int, Run], kept: list[int], faults: list[str]
) -> dict[str, Any]:
    return {
        "benchmark": "class",
        "config": {
            name: getattr(options, name)
            for name in ("submissions", "jobs", "kills", "seed", "split", "time_limit", "memory")
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": num_cores(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "seconds": {jobs: round(run.seconds, 1) for jobs, run in runs.items()},
        "cpu_seconds": {jobs: round(run.cpu_seconds, 1) for jobs, run in runs.items()},
        "peak_gb": {jobs: round(run.peak_bytes / 1e9, 2) for jobs, run in runs.items()},
        "results_at_kills": kept,
        "faults": len(faults),
    }


if __name__ == "__main__":
    sys.exit(main())
