"""Kill -9 each job at random moments: nothing half-written is taken for whole, nothing is lost.

    python benchmarks/kills.py [--moments 30] [--seed 0] [--jobs generate,bundle,...]

Each try runs the job from nothing in a folder of its own, kills it, reads the folder, and runs the
job again to its end. Tries continue until `--moments` kills came before the job had ended. Half of
the moments are random times; the other half are random file operations (opening for writing,
renaming, removing), just before which a kill does the most harm. After the kill a reader must find
the whole result or refuse; after the rerun the result must be that of an undisturbed run, and no
half-written file may remain. The jobs run on drawn frames and models of about 80,000 weights, as
children of one process that has imported everything, so that kills hit the work and not the
imports. Needs fork: Linux or macOS.

Ends with a table and one line of JSON; exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
assert sys.platform != "win32"

import kill_jobs  # noqa: E402
from kill_jobs import Job  # noqa: E402

TIMEOUT_S = 600  # for one run; more means that it hangs
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FILE_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


@dataclass
class Outcome:
    """The counts of one job's row."""

    tries: int = 0
    kills: int = 0  # of these: that hit the job before it had ended
    refused: int = 0  # of the kills: a reader found nothing, and said so
    whole: int = 0  # of the kills: a reader found the whole result
    same: int = 0  # of the tries: reruns that ended with the undisturbed result
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default="generate,train,download,pretrain,bundle")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    outcomes, start = {}, time.perf_counter()
    try:
        for name in options.jobs.split(","):
            job = kill_jobs.JOBS[name](work)
            rng = random.Random(f"{options.seed}/{name}")
            outcomes[name] = kill_at_moments(job, work / name, options.moments, rng)
    finally:
        for server in kill_jobs.SERVERS:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        shutil.rmtree(work)
    print_table(outcomes)
    for name, outcome in outcomes.items():
        for fault in outcome.faults:
            print(f"{name}: {fault}")
    rows = {name: vars(outcome) for name, outcome in outcomes.items()}
    print(json.dumps({"seconds": round(time.perf_counter() - start), "jobs": rows}))
    return int(any(outcome.faults for outcome in outcomes.values()))


# --- killing ---


def kill_at_moments(job: Job, work: Path, moments: int, rng: random.Random) -> Outcome:
    """Run the job undisturbed, then kill it at random moments until `moments` kills hit it."""
    undisturbed = work / "undisturbed"
    run_child(job, undisturbed)  # warms the disk's cache, so that the next one's time is right
    shutil.rmtree(undisturbed)
    ended = run_child(job, undisturbed)
    assert ended, "nothing has killed it"
    events, seconds = ended
    expected = job.result(undisturbed)
    outcome = Outcome()
    while outcome.kills < moments and outcome.tries < 5 * moments:
        folder = work / str(outcome.tries)
        by_event = outcome.tries % 2 == 1
        when: Any = rng.randint(1, events) if by_event else rng.uniform(0, seconds)
        label = f"file operation {when} of {events}" if by_event else f"{when:.2f} s"
        killed = run_child(job, folder, **{"event" if by_event else "seconds": when}) is None
        outcome.tries += 1
        outcome.kills += killed
        found = job.read(folder)
        if found is None:
            outcome.refused += killed
        elif found == expected:
            outcome.whole += killed
        else:
            outcome.faults.append(f"at {label}: half-written, but taken for whole")
        try:
            run_child(job, folder)
            left = [str(path.relative_to(folder)) for path in folder.rglob("*.partial")]
            if job.result(folder) != expected:
                outcome.faults.append(f"at {label}: the rerun ended with another result")
            elif left:
                outcome.faults.append(f"at {label}: left after the rerun: {left[:3]}")
            else:
                outcome.same += 1
        except (OSError, RuntimeError) as error:
            outcome.faults.append(f"at {label}: the rerun failed: {error}")
        shutil.rmtree(folder)
        print(f"{job.name} {outcome.kills}/{moments}: {label}", file=sys.stderr, flush=True)
    return outcome


def run_child(
    job: Job, folder: Path, event: int | None = None, seconds: float | None = None
) -> tuple[int, float] | None:
    """Run the job in a child, killed at its n-th file operation or after a number of seconds.

    Returns:
        The number of file operations and the seconds it took; None if it was killed.

    Raises:
        RuntimeError: it failed, or hung.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, count = folder.parent / f"{folder.name}.log", folder.parent / f"{folder.name}.count"
    start = time.perf_counter()
    child = os.fork()
    if not child:
        _be_child(job, folder, event, log, count)
    deadline = start + (TIMEOUT_S if seconds is None else seconds)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.perf_counter() > deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    if os.WIFSIGNALED(status):
        if event is None and seconds is None:
            raise RuntimeError(f"no end after {TIMEOUT_S} s: {log.read_text()[-300:]}")
        return None
    if os.WEXITSTATUS(status):
        raise RuntimeError(" ".join(log.read_text().split())[-500:])
    return int(count.read_text()), time.perf_counter() - start


def _be_child(job: Job, folder: Path, event: int | None, log: Path, count: Path) -> None:
    """Do the job; never returns."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        done = _count_file_operations(str(folder), event)
        job.run(folder)
        count.write_text(str(done()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _count_file_operations(folder: str, kill_at: int | None) -> Callable[[], int]:
    """Count from now on what is opened for writing, renamed or removed below `folder`."""
    total = 0

    def audit(name: str, arguments: tuple) -> None:
        nonlocal total
        if name == "open":
            path, mode, flags = arguments
            if not (flags & WRITES if mode is None else set(mode) & set("wax+")):
                return
        elif name in FILE_EVENTS:
            path = arguments[0]
        else:
            return
        if isinstance(path, int | None):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(folder + os.sep):
            return
        total += 1
        if total == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    return lambda: total


def print_table(outcomes: dict[str, Outcome]) -> None:
    """A row for each job."""
    print(f"{'job':10}{'tries':>7}{'kills':>7}{'refused':>9}{'whole':>7}{'same':>7}{'faults':>8}")
    for name, outcome in outcomes.items():
        print(
            f"{name:10}{outcome.tries:7}{outcome.kills:7}{outcome.refused:9}{outcome.whole:7}"
            f"{outcome.same:7}{len(outcome.faults):8}"
        )


if __name__ == "__main__":
    sys.exit(main())
