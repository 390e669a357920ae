"""The commands of the README and of docs/: each exists, and the sample's run in order."""

import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import clone

from homework.labels.questions import KINDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "lab").glob("*.md")),
]
BLOCKS = [
    block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
]
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line]
SAMPLE_BLOCK = next(block for block in BLOCKS if "grader my_id.zip --split sample" in block)


@pytest.mark.slow
def test_the_samples_commands_run_one_after_the_other(tmp_path):
    """On a few frames of the samples; the grader gets the answers that `test` got."""
    clone(tmp_path, "grader", "bundle.py")
    options = {  # the whole epoch takes minutes on a CPU without bf16
        "finetune train": ["--max_steps", "4", "--per_device_train_batch_size", "8"],
        "finetune test": ["--save_predictions", "predictions.json"],
        "-m grader": ["--log_path", "log.txt"],
    }
    printed = ""
    for line in SAMPLE_BLOCK.splitlines():
        command = [sys.executable, *shlex.split(line)[1:]]
        command += next((more for name, more in options.items() if name in line), [])
        # No window: `check` would wait for someone to close it.
        environment = os.environ | {"MPLBACKEND": "Agg"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    assert "00000_00_check.png" in printed
    assert re.search(r"^(80|100)% of the 5 pairs by heart", printed, re.MULTILINE)
    test = json.loads((tmp_path / "predictions.json").read_text())
    grader = json.loads((tmp_path / "log.txt").read_text().splitlines()[-1])["samples"]
    said = {(row["image_file"], row["question"]): row["answer"] for row in test}
    again = {(row["image_file"], row["question"]): row["model_answer"] for row in grader}
    assert said.keys() == again.keys() and len(set(said.values())) > 1
    # In bf16 the order of sums may turn one over.
    assert sum(said[key] == again[key] for key in said) >= 0.98 * len(said)
    asked = len(said)
    assert asked == min(24 * len(KINDS), 128)
    tested = re.search(rf"^all +{asked} +([\d.]+)%", printed, re.MULTILINE)
    graded = re.search(r"([\d.]+)% \(\d+ right\)", printed)
    assert tested and graded, printed
    assert float(tested[1]) == pytest.approx(float(graded[1]), abs=0.06)


@pytest.mark.parametrize(
    "line", [line for line in dict.fromkeys(LINES) if re.search(r"-m (homework|lab)\.", line)]
)
def test_every_command_and_option_on_a_page_exists(line):
    words = shlex.split(line)
    module = importlib.import_module(words[words.index("-m") + 1])
    main = inspect.getsource(module).split("__main__")[-1]
    commands = re.search(r"run(?:_commands)?\(\s*(.*)\)", main, re.DOTALL)
    rest = words[words.index("-m") + 2 :]
    table = commands[1]
    if table.startswith("{"):
        name = re.search(rf'"{rest[0]}": (\w+)', table)
        assert name, f"{module.__name__} has no {rest[0]}"
        function, rest = getattr(module, name[1]), rest[1:]
    else:
        function = getattr(module, table)
    options = [word[2:] for word in rest if word.startswith("--")]
    assert set(options) <= set(inspect.signature(function).parameters)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    names = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in names if f"({name})" in index} == names


def test_the_map_names_every_module_and_no_other():
    """docs/code.md: a row a folder, its modules in backticks."""
    rows = (ROOT / "docs" / "code.md").read_text().splitlines()
    packages = (ROOT / "homework", ROOT / "lab")
    for folder in sorted(each for package in packages for each in package.glob("*/__init__.py")):
        modules = {path.stem for path in folder.parent.glob("*.py")} - {"__init__"}
        row = next(row for row in rows if row.startswith(f"| `{folder.parent.name}/`"))
        named = set(re.findall(r"`([a-z_]+)`", row))
        assert named == modules, folder.parent.name


def test_the_readmes_images_are_made_by_a_command(tmp_path):
    from PIL import Image

    command = [sys.executable, "docs/make_pictures.py", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "contact_sheet.jpg",
        "five_kinds.jpg",
    ]
    for path in tmp_path.iterdir():
        assert Image.open(path).width > 1000 and path.stat().st_size < 600_000


def test_the_test_files_that_ci_names_exist():
    named = re.findall(r"tests/[\w/]+(?:\.py)?", (ROOT / ".ci/run").read_text())
    assert named and [path for path in named if not (ROOT / path).exists()] == []
