"""python3 quickstart.py          run everything, end to end, on frames that come with it
python3 quickstart.py test     run the tests

Needs only Python 3.11, 3.12 or 3.13. Makes a virtual environment (.venv), installs what
requirements.txt names, and runs the commands of the README; prints each one first. Tests and
grades the adapter in homework/vlm_model, which stays as it is, then trains a new one in
runs/quickstart, and tests and grades that. Uses the dataset in data/train and data/valid if it
is there.

The exit code is 1 if the adapter in homework/vlm_model gets less than 100 points, or if the
grader could not grade one of the two or denied it something. The points of the new adapter are
only printed, since they depend on --max_steps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grader.interpreter import CPU_INDEX, has_nvidia_gpu, reachable

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "data"
PACKAGE = ROOT / "homework"
OWN = "runs/quickstart"  # where the adapter that is trained here goes
PYTHONS = ((3, 11), (3, 12), (3, 13))  # as in pyproject.toml
FULL_POINTS = 100
TWO_AT_A_TIME = ("-n", "2", "--dist", "worksteal")  # options of pytest-xdist
SIZES = {
    "cpu": "0.3 GB to download and 1.4 GB on disk",
    "default": "up to 2.8 GB to download and 5.1 GB on disk",
}


def main() -> int:
    """Set up, then run the job that was asked for; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", nargs="?", choices=("run", "test"), default="run")
    parser.add_argument("--max_steps", type=int, default=150, help="of training; 1 is the least")
    parser.add_argument(
        "--torch",
        choices=("auto", *SIZES),
        default="auto",
        help="the build of torch that is installed: PyTorch's for CPUs, pip's default one, or "
        "(auto) the one for CPUs on Linux without an NVIDIA GPU",
    )
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.job == "run":
        parser.error(f"unknown argument {rest[0]}")
    if arguments.max_steps < 1:
        parser.error("--max_steps: 1 is the least")
    if sys.version_info[:2] not in PYTHONS:
        own = sys.version.split()[0]
        print(f"Python 3.11, 3.12 or 3.13 is needed; this is {own}", file=sys.stderr)
        return 2
    environment = Environment(arguments.venv.absolute())
    try:
        start = time.perf_counter()
        if arguments.job == "test":
            environment.set_up("requirements-dev.txt", arguments.torch)
            environment.run("-m", "pytest", *TWO_AT_A_TIME, *rest)
            return 0
        environment.set_up("requirements.txt", arguments.torch)
        problems = main_job(environment.run, arguments.max_steps)
        print(f"\ndone in {time.perf_counter() - start:.0f} s")
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1 if problems else 0
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print("stopped by Ctrl-C; homework/vlm_model is as it was", file=sys.stderr)
        return 130


class Environment:
    """A virtual environment.

    Args:
        folder: where it is, or will be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def run(self, *arguments: str) -> None:
        """Print a command and run it with the environment's Python, in the repository."""
        print("\n$ python " + " ".join(arguments), flush=True)
        subprocess.run([str(self._python), *arguments], cwd=ROOT, check=True)

    def set_up(self, requirements: str, torch: str) -> None:
        """Make the environment, once, and install `requirements` into it."""
        whole = self._folder / "complete"  # made first; names what is installed
        empty = self._folder.is_dir() and not any(self._folder.iterdir())
        if self._folder.exists() and not empty and not whole.exists():
            sys.exit(
                f"error: {self._folder}: not an environment that quickstart.py has made; "
                "give a new folder with --venv, or move this one away"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        whole.touch()
        installed = whole.read_text("utf-8").split()
        if not installed:
            print(f"making {self._folder}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", self._folder], check=True)
        pip = ("-m", "pip", "--disable-pip-version-check", "install")
        if requirements in installed:
            self.run(*pip, "--quiet", "-r", requirements)
            return
        if not installed:
            self._install_torch(pip, torch)
        self.run(*pip, "-r", requirements)
        whole.write_text("\n".join([*installed, requirements]), "utf-8")

    def _install_torch(self, pip: tuple[str, ...], build: str) -> None:
        """Say how large everything will be, and install torch where not pip's default is taken."""
        if build == "auto":
            build = "cpu" if sys.platform == "linux" and not has_nvidia_gpu() else "default"
        if build == "cpu" and not reachable(f"{CPU_INDEX}/torch/"):
            print(f"{CPU_INDEX} cannot be reached: pip's default torch is installed", flush=True)
            build = "default"
        print(f"installing with the {build} build of torch: {SIZES[build]}", flush=True)
        if build == "cpu":
            lines = (ROOT / "requirements.txt").read_text("utf-8").split()
            pinned = next(line for line in lines if line.startswith("torch=="))
            try:
                self.run(*pip, pinned, "--index-url", CPU_INDEX)
            except subprocess.CalledProcessError:
                print(f"not installed from there: pip's default build follows, {SIZES['default']}")


def main_job(run: Callable[..., None], max_steps: int) -> list[str]:
    """Look, generate, test and grade what is there; train, test and grade anew.

    Returns:
        What was not as it has to be, a line each.
    """
    train, valid = "train", "valid"
    if not all(list((DATA / split).glob("*_info.json")) for split in (train, valid)):
        train, valid = "sample", "sample_valid"
    asked = f"{valid}_grader"
    info = min((DATA / valid).glob("*_info.json")).relative_to(ROOT)

    generate_qa = ("-m", "homework.generate_qa")
    run(*generate_qa, "inspect", "--data_dir", f"data/{train}")
    look = ("--view_index", "0", "--save", "runs/check.png", "--overwrite")
    run(*generate_qa, "check", "--info_file", info.as_posix(), *look)
    run(*generate_qa, "generate", "--data_dir", f"data/{train}")
    # The dataset brings a set of questions of its own; that one is asked as it is.
    if not list((DATA / asked).glob("*_qa_pairs.json")):
        run(*generate_qa, "balance", "--split", valid)

    problems = []
    if (PACKAGE / "vlm_model" / "base.json").exists():
        run("-m", "homework.finetune", "test", "homework/vlm_model", "--split", asked)
        result, problems = grade(run, "homework", "quickstart_shipped", asked)
        if result["total"] < FULL_POINTS:
            problems.append(
                f"homework/vlm_model: {result['total']:.1f} points, {FULL_POINTS} were expected; "
                "git checkout homework/vlm_model brings the shipped adapter back"
            )
    else:
        problems.append("homework/vlm_model holds no adapter: git checkout homework/vlm_model")

    run(
        *("-m", "homework.finetune", "train", "--train_dataset_name", train, "--output_dir", OWN),
        *("--base", "embedded_base", "--num_train_epochs", "100", "--max_steps", str(max_steps)),
    )
    run("-m", "homework.finetune", "test", OWN, "--split", asked)
    result, more = grade(run, package_with(OWN), "quickstart", asked)
    print(f"\nthe adapter in {OWN}: {result['total']:.1f} points")
    print(f"look at runs/check.png (a labelled frame) and {OWN}/curves.png")
    return problems + more


def package_with(adapter: str) -> str:
    """Copy the package, with another adapter in it, to where it can be bundled; its folder."""
    folder = f"{adapter}_package/homework"
    print(f"\ncopying homework, with {adapter} as its vlm_model, to {folder}", flush=True)
    copy = ROOT / folder
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "vlm_model"))
    skipped = shutil.ignore_patterns("checkpoint-*", "runs")
    shutil.copytree(ROOT / adapter, copy / "vlm_model", ignore=skipped)
    return folder


def grade(
    run: Callable[..., None], package: str, name: str, split: str
) -> tuple[dict[str, Any], list[str]]:
    """Bundle a package and grade the zip; the grader's result and what went wrong."""
    run("bundle.py", package, name)
    log = f"runs/{name}.log"
    run("-m", "grader", f"{name}.zip", "-v", "--split", split, "--log_path", log)
    result = json.loads((ROOT / log).read_text(encoding="utf-8").splitlines()[-1])
    problems = [
        f"{name}.zip: {case['name']}: {case['detail']}"
        for case in result["cases"]
        if case["status"] == "failed"
    ]
    problems += [f"{name}.zip: {denial}" for denial in result["denied"]]
    return result, problems


if __name__ == "__main__":
    sys.exit(main())
