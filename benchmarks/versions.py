"""Grade the shipped package in each version of transformers that people have.

    python benchmarks/versions.py [--only 4.52.4,5.23.0] [--environments DIR] [--questions 1000]
    python benchmarks/versions.py --only 4.52.4-torchvision --questions 0     the course's pins

For each row of `ROWS` it makes an environment, packs the package with bundle.py, grades the zip by
the rules of the course's grader (tests/course_rules.py) on one core, and compares the answers to
`--questions` further questions with those of the last row, which is what requirements.txt pins.
The questions are of `--split` of the data folder, by default of the frames that come with the
repository. Ends with a table and one line of JSON; exit code 1 if a row has less than 105 points
or answers less than 99.8% of the questions as the last row does.

An environment has transformers and peft alone (0.2 GB) and borrows torch from another one, which is
made once for each version of torch (1.2 GB with PyTorch's build for CPUs, 5 GB with pip's default
one). They stay in `--environments` and are used again. Python 3.11 and 3.12 must be there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from quickstart import CPU_INDEX, reachable  # noqa: E402

POINTS, SAME = 105.0, 0.998  # what a row has to reach
SHARED = ("numpy", "pillow", "tqdm", "safetensors", "fire")  # in the environment with torch
QUIET = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")


class Row(NamedTuple):
    """Versions that people have together."""

    transformers: str
    torch: str
    peft: str
    python: str
    more: tuple[str, ...] = ()  # further packages
    note: str = ""

    @property
    def name(self) -> str:
        """Of the row's environment."""
        return "-".join((self.transformers, *(one.split("==")[0] for one in self.more)))


VISION = ("torchvision==0.21.0",)
ROWS = (
    Row("4.49.0", "2.6.0", "0.14.0", "3.12", note="spring 2025"),
    Row("4.51.3", "2.6.0", "0.15.2", "3.12", note="spring 2025"),
    Row("4.52.4", "2.6.0", "0.16.0", "3.12", VISION, note="the course's pins"),
    Row("4.52.4", "2.6.0", "0.16.0", "3.12", note="without torchvision"),
    Row("4.53.3", "2.6.0", "0.16.0", "3.12"),
    Row("4.57.6", "2.6.0", "0.18.1", "3.12"),
    Row("5.0.0", "2.13.0", "0.18.1", "3.11"),
    Row("5.10.4", "2.13.0", "0.19.1", "3.11"),
    Row("5.17.0", "2.13.0", "0.20.0", "3.11"),
    Row("5.24.0", "2.13.0", "0.21.2", "3.11", note="the newest"),
    Row("5.23.0", "2.13.0", "0.21.2", "3.11", note="requirements.txt"),
)

# Run by an environment's Python: asks the unpacked package, writes seconds and answers.
ASK = """
import json, sys, time
start = time.perf_counter()
folder, data, split, count, output = sys.argv[1:]
sys.path.insert(0, folder)
from homework import load_vlm
from homework.data import VQADataset, benchmark
result = benchmark(load_vlm(), VQADataset(split, data), int(count), None)
seconds = time.perf_counter() - start
unused = [name for name in ("matplotlib", "tensorboard", "orjson") if name in sys.modules]
rows = [[one.question, one.model_answer] for one in result.samples]
json.dump({"seconds": seconds, "unused": unused, "rows": rows}, open(output, "w"))
"""


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names of rows or versions of transformers, with commas")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-versions")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data")
    parser.add_argument("--split", default="sample_valid")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else [row.name for row in ROWS]
    rows = [row for row in ROWS if {row.name, row.transformers} & {*only}]
    if not rows:
        parser.error(f"--only: none of {', '.join(row.name for row in ROWS)}")
    if sys.platform == "linux":  # one core, also for the processes that are started
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        prepare(place, arguments.data_dir, arguments.split)
        results = []
        for row in rows:
            results.append(measure(row, environment(row, arguments.environments), place, arguments))
            print(f"{row.name}: {results[-1]['points']}", flush=True)
    if rows[-1] == ROWS[-1]:
        compare(results)
    print(table(results))
    print(json.dumps([{k: v for k, v in one.items() if k != "rows"} for one in results]))
    return int(
        any(
            one["points"] != POINTS or (one["same"] is not None and one["same"] < SAME)
            for one in results
        )
    )


def prepare(place: Path, data_dir: Path, split: str) -> None:
    """Pack and unpack the zip; copy the split, with all its questions and the grader's 120."""
    run(sys.executable, "bundle.py", "homework", "versions", cwd=ROOT)
    shutil.move(ROOT / "versions.zip", place)
    with zipfile.ZipFile(place / "versions.zip") as archive:
        archive.extractall(place / "unpacked")
    data = place / "data"
    shutil.copytree(data_dir / split, data / split)
    generate_qa = (sys.executable, "-m", "homework.generate_qa")
    run(*generate_qa, "generate", "--data_dir", data / split, cwd=ROOT)
    run(*generate_qa, "balance", "--split", split, "--data_dir", data, cwd=ROOT)
    if split != "valid":  # the course's grader asks a split of this name
        (data / f"{split}_grader").rename(data / "valid_grader")


def environment(row: Row, folder: Path) -> Path:
    """The Python of a row's environment, which is made if it is not there."""
    name = f"torch-{row.torch}"
    base = make(folder / name, find_python(row.python), torch=row.torch)
    packages = [f"transformers=={row.transformers}", f"peft=={row.peft}", *row.more]
    return make(folder / row.name, base, packages, borrowed=base)


def find_python(version: str) -> str:
    """A Python of this version that runs: on the path, or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *kept.glob(f"{version}.*/bin/python")):
        try:
            subprocess.run([candidate, "-c", ""], check=True, stderr=subprocess.DEVNULL)
            return str(candidate)
        except (OSError, subprocess.CalledProcessError):
            continue
    sys.exit(f"no Python {version} here; install it, for example with pyenv")


def make(
    folder: Path,
    python: str | Path,
    packages: Sequence[str] = SHARED,
    torch: str = "",
    borrowed: Path | None = None,
) -> Path:
    """Make an environment, once; its Python.

    Args:
        torch: version of torch to install first.
        borrowed: Python of an environment whose packages are found in this one too.
    """
    made = folder / "bin" / "python"
    if (folder / "complete").exists():
        return made
    print(f"making {folder}", flush=True)
    run(python, "-m", "venv", "--clear", folder)
    if borrowed:
        [own], [others] = (list(p.parents[1].glob("lib/*/site-packages")) for p in (made, borrowed))
        (own / "borrowed.pth").write_text(f"{others}\n")
    if torch:
        index = ("--index-url", CPU_INDEX) if reachable(f"{CPU_INDEX}/torch/") else ()
        run(made, *QUIET, f"torch=={torch}", *index)
    run(made, *QUIET, *packages)
    (folder / "complete").touch()
    return made


def measure(row: Row, python: Path, place: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Points by the course's rules; answers; seconds from the import to the last of 120."""
    rules = (python, "-B", ROOT / "tests" / "course_rules.py", place / "versions.zip", "data")
    graded = json.loads(run(*rules, cwd=place).splitlines()[-1])
    timed = ask(python, place, "valid_grader", 120)
    more = ask(python, place, arguments.split, arguments.questions) if arguments.questions else {}
    return {
        **row._asdict(),
        "points": graded.get("points", graded.get("refused")),
        "seconds": round(timed["seconds"], 1),
        "unused": timed["unused"],
        "rows": more.get("rows", []),
        "same": None,
    }


def ask(python: Path, place: Path, split: str, count: int) -> dict[str, Any]:
    """What `ASK` finds about the unpacked package."""
    output = place / "answers.json"
    run(python, "-B", "-c", ASK, place / "unpacked", place / "data", split, count, output)
    return json.loads(output.read_text())


def compare(results: list[dict[str, Any]]) -> None:
    """Add to each result the share of its answers that are the last one's; print the others."""
    for result in results if results[-1]["rows"] else []:
        pairs = list(zip(result["rows"], results[-1]["rows"], strict=True))
        other = [(one, expected) for one, expected in pairs if one != expected]
        result["same"] = 1 - len(other) / len(pairs)
        for (question, answer), (_, expected) in other:
            print(f"{result['transformers']}: {question} {answer!r}, in the last row {expected!r}")


def table(results: list[dict[str, Any]]) -> str:
    """What was found for each row, in Markdown; docs/grading.md sums it up."""
    lines = ["| transformers | torch | peft | Python | | points | same answers | seconds |"]
    lines.append("|---|---|---|---|---|---:|---:|---:|")
    for one in results:
        versions = (one[name] for name in ("transformers", "torch", "peft", "python", "note"))
        same = "-" if one["same"] is None else f"{one['same']:.1%}"
        numbers = (f"{one['points']}", same, f"{one['seconds']}")
        lines.append("| " + " | ".join((*versions, *numbers)) + " |")
    return "\n".join(lines)


def run(*command: Any, cwd: Path | None = None) -> str:
    """Run a command; its output. Where it fails, what it said goes on."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
