"""What a report says about its run, where results go, and how processes share the questions."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import make_split

from homework import evaluate, finetune, generate_qa
from homework.common import distributed
from homework.common.errors import InputError
from homework.data import VQADataset, benchmark
from homework.evaluation import measure
from homework.evaluation.measure import MajorityModel, same_questions_baseline
from homework.evaluation.report import about_adapter
from homework.labels.questions import COUNT, EGO
from homework.model import adapter, adapter_files


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("report", "file/report", "a file stands where a folder is needed"),
        ("save_predictions", "file/a.json", "a file stands where a folder is needed"),
        ("save_predictions", "folder", "a folder stands where a file is needed"),
        ("save_predictions", "x" * 300, "File name too long"),
        ("save_predictions", "/dev/full", "not a plain file"),
    ],
)
def test_results_that_cannot_be_written_are_refused_before_the_first_question(
    option, value, words, tmp_path
):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = str(tmp_path / value)
    with pytest.raises(InputError, match=words) as caught:
        finetune.test("nowhere", **{option: target})
    # The middle of a word of over 300 letters is left out.
    assert str(caught.value).startswith(target[:140]) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_report_names_its_run_by_date_and_hash_without_private_folders(tmp_path):
    folder = tmp_path / "vlm_model"
    folder.mkdir()
    for name in adapter_files.FILES:
        (folder / name).write_bytes(b"{}")
    record = adapter.Record(folder, str(tmp_path / "base"), None, {})
    about = about_adapter(record, tmp_path / "data")
    assert about["checkpoint"] == "vlm_model" and len(about["adapter_sha256"]) == 64
    assert datetime.fromisoformat(about["date"]).tzinfo is not None
    assert str(tmp_path) not in str(about)


def test_each_process_answers_whole_images_and_gets_every_answer(monkeypatch):
    paths, questions = list("aabcb"), list("12345")
    asked = {rank: [] for rank in (0, 1)}

    def model(rank):
        def answer(paths, questions):
            asked[rank] += paths
            return [path + question for path, question in zip(paths, questions, strict=True)]

        return measure.DistributedModel(SimpleNamespace(answer=answer))

    parts = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda part: parts.append(part) or parts)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        answers = model(rank).answer(paths, questions)
    assert answers == ["a1", "a2", "b3", "c4", "b5"]
    assert asked == {0: ["a", "a", "c"], 1: ["b", "b"]}


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
    code = "import sys, homework.evaluation.measure; "
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
