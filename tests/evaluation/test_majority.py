"""The majority baseline."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import make_split

from homework import evaluate, generate_qa
from homework.data import VQADataset, benchmark
from homework.evaluation.majority import MajorityModel, same_questions_baseline
from homework.labels.questions import COUNT, EGO


def items(*pairs):
    return [{"image_path": "x.jpg", "question": q, "answer": a} for q, a in pairs]


def test_majority_baseline():
    side = "Is {} to the left or right of the ego car?"
    train = items(
        (side.format("tux"), "left"),
        (side.format("gnu"), "left"),
        (side.format("xue"), "right"),
        (COUNT, "2"),
        (COUNT, "1"),
    )
    model = MajorityModel(train)
    assert model.answers == {side: "left", COUNT: "1"}
    result = benchmark(model, items((side.format("kiki"), "left"), (COUNT, "2"), (EGO, "tux")))
    assert result.accuracy_per_kind == {
        "ego": (0.0, 1),
        "count": (0.0, 1),
        "relative position": (1.0, 1),
    }


def test_import_needs_the_standard_library_only():
    code = "import sys, homework.evaluation.majority; "
    code += "print([m for m in ('torch', 'PIL', 'fire', 'numpy') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_tilde_in_the_data_folder_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    generate_qa.generate(
        str(make_split(tmp_path / "data" / "train", frames=2, seed=0)), num_workers=1
    )
    dataset = VQADataset("train", "~/data")
    result = benchmark(MajorityModel(dataset), dataset)
    baselines = [same_questions_baseline(result, "train", f) for f in ("~/data", tmp_path / "data")]
    assert baselines[0] == baselines[1]
    assert baselines[0][1] == "the train split"


@pytest.mark.parametrize(
    "command",
    [
        lambda folder: generate_qa.generate(f"{folder}/train", num_workers=1),
        lambda folder: generate_qa.inspect(f"{folder}/train", num_workers=1),
        lambda folder: generate_qa.export("llava", "~/out.json", f"{folder}/train"),
        lambda folder: generate_qa.balance("train", 2, data_dir=folder),
        lambda folder: evaluate.evaluate("~/data/train/train_qa_pairs.json", "train", folder),
    ],
)
def test_every_command_reads_a_tilde_in_its_data_folder(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    generate_qa.generate(
        str(make_split(tmp_path / "data" / "train", frames=2, seed=0)), num_workers=1
    )
    command("~/data")
    assert not (tmp_path / "~").exists()
