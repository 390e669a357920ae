"""A GPU run on the CPU, with the clock and the steps scaled down."""

import json
import tarfile
from pathlib import Path

import helpers
import pytest
from helpers import make_split

from homework.base_vlm import BaseVLM, load
from homework.common.errors import InputError
from lab import gpu_run
from lab.pretraining import timed

ARCHIVES = ("train.tar", "recorded.tar", "valid.tar")


def packed(folder: Path, archive: Path, top: str | None = None) -> Path:
    with tarfile.open(archive, "w") as file:
        file.add(folder, top or folder.name)
    return archive


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A train split, a recording and a validation split, as tar files."""
    monkeypatch.setattr(helpers, "NUM_TRACKS", 12)
    frames = {"train": 40, "recorded": 10, "valid": 6}
    made = {}
    for seed, (name, number) in enumerate(frames.items()):
        folder = make_split(tmp_path / "made" / name, frames=number, seed=seed)
        (folder / "00000_00_im.jpg").unlink()  # shows nothing, and is the same in all
        made[name] = str(packed(folder, tmp_path / f"{name}.tar"))
    return made


def test_as_many_steps_as_fit_and_one_at_least():
    assert gpu_run.steps_within(100, 0.5) == int(gpu_run.MARGIN * 100 / 0.5)
    assert gpu_run.steps_within(100, 0.5, 20) == int((gpu_run.MARGIN * 100 - 20) / 0.5)
    assert gpu_run.steps_within(-3, 0.5) == 1


def refused(tmp_path, line, **given):
    """A run that ends in a line, and leaves nothing."""
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match=line):
        gpu_run.run(**{"output": str(tmp_path / "new"), **given})
    assert set(tmp_path.iterdir()) == before


def test_a_folder_that_holds_something_is_left_alone(archives, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    for name in ("out", "out/mine"):
        line = f"--output .*{name}: is no empty folder; give a new one"
        refused(tmp_path, line, archives=[archives["train"]], output=str(tmp_path / name))


@pytest.mark.parametrize("option", ["archives", "valid"])
def test_an_archive_of_another_form_leaves_nothing(archives, tmp_path, option):
    (tmp_path / "broken.tar").write_bytes(b"no tar")
    loose = packed(next((tmp_path / "made" / "train").glob("*.json")), tmp_path / "loose.tar")
    with tarfile.open(loose, "a") as file:
        file.add(tmp_path / "made" / "valid", "valid")
    for name, reason in (
        ("nothing.tar", r"cannot be unpacked \(No such file or directory\)"),
        ("broken.tar", "cannot be unpacked"),
        (".", r"cannot be unpacked \(Is a directory\)"),
        ("loose.tar", "holds .*, not the folder of one split; pack it with tar"),
    ):
        given = {"archives": [archives["train"]], "valid": archives["valid"]}
        given[option] = [str(tmp_path / name)] if option == "archives" else str(tmp_path / name)
        refused(tmp_path, f"--{option}: .*{reason}", **given)
    twice = [archives["train"], archives["recorded"], archives["train"]]
    refused(tmp_path, "is a second one with a folder train", archives=twice)


def test_nothing_is_unpacked_outside(archives, tmp_path):
    outside = packed(tmp_path / "made" / "train", tmp_path / "outside.tar", "../train")
    with pytest.raises(InputError, match="outside"):
        gpu_run.unpack("--archives", outside, tmp_path / "data")
    assert not (tmp_path / "train").exists()


def run_on_a_cpu(archives, tmp_path, monkeypatch, valid):
    """A run with a small model, few questions and steps; its stages' numbers."""
    monkeypatch.setattr(timed, "MOST_STEPS", 6)
    monkeypatch.setattr(gpu_run, "ASKED", 8)
    monkeypatch.setattr(gpu_run, "PROBED", 1)
    gpu_run.run(
        [archives["train"], archives["recorded"]],
        str(tmp_path / "out"),
        valid,
        minutes=0.5,
        batch_size=4,
    )
    results = json.loads((tmp_path / "out" / gpu_run.RESULTS).read_text())
    assert results["complete"]
    assert {path.name for path in tmp_path.iterdir()} == {*ARCHIVES, "made", "out"}
    stages = results["stages"]
    assert stages["unpack"]["folders"] == ["train", "recorded"]
    assert 1 <= stages["pretrain"]["steps"] <= 6
    assert stages["pretrain"]["pictures"] == 4 * stages["pretrain"]["steps"]
    return stages


@pytest.mark.slow
def test_a_whole_run_within_its_time(tiny_architecture, archives, tmp_path, monkeypatch):
    stages = run_on_a_cpu(archives, tmp_path, monkeypatch, archives["valid"])
    assert list(stages) == ["unpack", "pretrain", "finetune", "evaluate"]
    assert 1 <= stages["finetune"]["steps"] <= stages["finetune"]["of"]
    found = stages["evaluate"]
    assert 8 <= found["asked"] <= found["of"]
    assert sum(row["total"] for row in found["kinds"]) == found["asked"]
    assert 0 <= found["kinds_alike"] <= 1
    # Of the base beside it, not of one in the folder that the run has removed.
    assert load(tmp_path / "out" / "adapter", verbose=False).base == str(tmp_path / "out" / "base")


@pytest.mark.slow
def test_without_a_validation_split_it_makes_the_base_alone(
    tiny_architecture, archives, tmp_path, monkeypatch
):
    stages = run_on_a_cpu(archives, tmp_path, monkeypatch, None)
    assert list(stages) == ["unpack", "pretrain"]
    assert BaseVLM(tmp_path / "out" / "base", verbose=False).processor
    assert not (tmp_path / "out" / "adapter").exists()
