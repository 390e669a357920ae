"""python3 quickstart.py          the whole homework, end to end, on frames that come with it
python3 quickstart.py test     the tests

Needs nothing but Python 3.11 or 3.12: makes a virtual environment (.venv), installs what
requirements.txt names, and runs the commands of the README, each of which it prints first.
With a downloaded dataset in data/train and data/valid it uses that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "data"
ADAPTER = ROOT / "homework" / "vlm_model"
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def main() -> int:
    """Set up, then run the job that was asked for; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", nargs="?", choices=("run", "test"), default="run")
    parser.add_argument("--max_steps", type=int, default=150, help="of training; 1 is the least")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.job == "run":
        parser.error(f"unknown argument {rest[0]}")
    if arguments.max_steps < 1:
        parser.error("--max_steps: 1 is the least")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        print(f"Python 3.11 or 3.12 is needed; this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    try:
        start = time.perf_counter()
        if arguments.job == "test":
            set_up("requirements-dev.txt")
            run("-m", "pytest", *rest)
        else:
            set_up("requirements.txt")
            main_job(arguments.max_steps)
            print(f"\ndone in {time.perf_counter() - start:.0f} s")
        return 0
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        return 130


def set_up(requirements: str) -> None:
    """A virtual environment with `requirements` in it; made once, then kept."""
    whole = VENV / "complete"  # written last: an environment cut short is made again
    if not whole.exists():
        print(f"making {VENV}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        whole.touch()
    run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)


def main_job(max_steps: int) -> None:
    """Look, generate, train, test, bundle, grade."""
    train, valid = "train", "valid"
    if not all(list((DATA / split).glob("*_info.json")) for split in (train, valid)):
        train, valid = "sample", "sample_valid"
    asked = f"{valid}_grader"
    info = min((DATA / valid).glob("*_info.json")).relative_to(ROOT)
    keep_adapter()

    generate_qa = ("-m", "homework.generate_qa")
    run(*generate_qa, "inspect", "--data_dir", f"data/{train}")
    look = ("--view_index", "0", "--save", "runs/check.png")
    run(*generate_qa, "check", "--info_file", info.as_posix(), *look)
    run(*generate_qa, "generate", "--data_dir", f"data/{train}")
    # The dataset brings a set of questions of its own; that one is asked as it is.
    if not list((DATA / asked).glob("*_qa_pairs.json")):
        run(*generate_qa, "balance", "--split", valid)
    run(
        *("-m", "homework.finetune", "train", "--train_dataset_name", train),
        *("--base", "embedded_base", "--num_train_epochs", "100", "--max_steps", str(max_steps)),
    )
    run("-m", "homework.finetune", "test", "homework/vlm_model", "--split", asked)
    run("bundle.py", "homework", "quickstart")
    run("-m", "grader", "quickstart.zip", "-v", "--split", asked)
    print("\nlook at runs/check.png (a labelled frame) and homework/vlm_model/curves.png")


def keep_adapter() -> None:
    """Move an adapter that is there out of the way: an hour's training is not overwritten."""
    if (ADAPTER / "base.json").exists():
        kept = ROOT / "runs" / time.strftime("vlm_model-%Y%m%d-%H%M%S")
        kept.parent.mkdir(exist_ok=True)
        ADAPTER.rename(kept)
        print(f"\nthe adapter that was in {ADAPTER} is kept as {kept}")


def run(*arguments: str) -> None:
    """Print a command and run it with the environment's Python, in the repository."""
    print("\n$ python " + " ".join(arguments), flush=True)
    subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
