"""Commands that write for their user replace their own files and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import make_split
from trainings import write_adapter

from homework import base_vlm, evaluate, finetune, generate_qa
from homework.common.errors import InputError
from homework.training import adapters

CHECK = {"view_index": 3}


@pytest.fixture
def data(tmp_path) -> Path:
    make_split(tmp_path / "data" / "train", frames=2, seed=0)
    generate_qa.generate(str(tmp_path / "data" / "train"), num_workers=1)
    return tmp_path / "data"


def answers(data: Path, folder: Path) -> Path:
    file = folder / "answers.json"
    file.write_text((data / "train" / "train_qa_pairs.json").read_text())
    return file


WRITERS = {
    "generate": (
        "pairs.json",
        lambda data, to, **o: generate_qa.generate(str(data / "train"), str(to), 1, **o),
    ),
    "balance": (
        "set.json",
        lambda data, to, **o: generate_qa.balance(
            "train", 3, data_dir=str(data), output=str(to), **o
        ),
    ),
    "check --save": (
        "view.png",
        lambda data, to, **o: generate_qa.check(
            str(data / "train" / "00000_info.json"), 3, save=str(to), **o
        ),
    ),
    "inspect --pictures": (
        "answers.png",
        lambda data, to, **o: generate_qa.inspect(
            str(data / "train"), num_workers=1, pictures=str(to.parent), **o
        ),
    ),
    "explore": (
        "index.html",
        lambda data, to, **o: generate_qa.explore(str(data / "train"), str(to.parent), 1, **o),
    ),
    "export": (
        "pairs.jsonl",
        lambda data, to, **o: generate_qa.export("messages", str(to), str(data / "train"), **o),
    ),
    "evaluate --report": (
        "report.json",
        lambda data, to, **o: evaluate.evaluate(
            str(answers(data, data)), "train", str(data), report=str(to.parent), **o
        ),
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_the_users_is_replaced_with_overwrite_alone(name, data, tmp_path):
    file, write = WRITERS[name]
    there = tmp_path / "out" / file
    there.parent.mkdir()
    there.write_text("by hand")
    with pytest.raises(InputError, match="--overwrite"):
        write(data, there)
    assert there.read_text() == "by hand"
    write(data, there, overwrite=True)
    first = there.read_bytes()
    assert first != b"by hand"
    write(data, there)
    there.write_text("by hand")
    with pytest.raises(InputError, match=r"changed since.*--overwrite"):
        write(data, there)
    assert there.read_text() == "by hand"


@pytest.mark.parametrize("name", ["00000_info.json", "00000_03_im.jpg"])
def test_frames_and_labels_are_never_written_over(name, data):
    file = data / "train" / name
    before = file.read_bytes()
    info = str(data / "train" / "00000_info.json")
    for write in (
        lambda: generate_qa.generate(str(data / "train"), str(file), 1, overwrite=True),
        lambda: generate_qa.check(info, 3, save=str(file.with_suffix(".jpg")), overwrite=True),
        lambda: generate_qa.export("llava", str(file), str(data / "train"), overwrite=True),
    ):
        if name.endswith(".json") and "check" in write.__code__.co_names:
            continue
        with pytest.raises(InputError, match="name of a file of the dataset"):
            write()
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", ["report", "save_predictions"])
def test_results_are_refused_before_the_model_is_loaded(kind, data, tmp_path, monkeypatch):
    def loaded(*_):
        raise AssertionError("too late")

    monkeypatch.setattr(finetune, "load", loaded)
    file = tmp_path / "out" / ("index.html" if kind == "report" else "answers.json")
    file.parent.mkdir()
    file.write_text("mine")
    given = file.parent if kind == "report" else file
    with pytest.raises(InputError, match=r"finetune test did not write.*--overwrite"):
        finetune.test("x", "train", str(data), **{kind: str(given)})
    monkeypatch.setattr(base_vlm, "BaseVLM", loaded)
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(InputError, match=r"ask did not write.*--overwrite"):
        base_vlm.ask("x.jpg", "Why?", explain=str(tmp_path / "a.png"))


def test_files_that_are_no_adapter_of_ours_are_kept(tmp_path, monkeypatch):
    """An adapter of plain PEFT has no base.json; and a folder may have a README.md of its own."""
    monkeypatch.setattr(adapters, "RUNS_DIR", tmp_path / "runs")
    output = tmp_path / "out"
    output.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
        (output / name).write_text("mine")
    adapters.keep_others(output)
    kept = tmp_path / "runs" / "out-1"
    assert {file.name: file.read_text() for file in kept.iterdir()} == {
        "adapter_config.json": "mine",
        "adapter_model.safetensors": "mine",
        "README.md": "mine",
    }
    (output / "recipe.json").write_text(json.dumps({}))  # a run has begun there
    adapters.keep_others(output)
    adapters.put(write_adapter(tmp_path / "fresh", "new"), output)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["out-1"]
