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


def test_archives_of_another_form_are_one_line(archives, tmp_path):
    data = tmp_path / "data"
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"broken\.tar: cannot be unpacked"):
        gpu_run.unpack(broken, data)
    with pytest.raises(InputError, match=r"nothing\.tar: cannot be unpacked \(No such file"):
        gpu_run.unpack(tmp_path / "nothing.tar", data)
    loose = packed(next((tmp_path / "made" / "train").glob("*.json")), tmp_path / "loose.tar")
    with tarfile.open(loose, "a") as file:
        file.add(tmp_path / "made" / "valid", "valid")
    with pytest.raises(InputError, match="not the folder of one split; pack it with tar"):
        gpu_run.unpack(loose, data)
    outside = packed(tmp_path / "made" / "train", tmp_path / "outside.tar", "../train")
    with pytest.raises(InputError, match="outside"):
        gpu_run.unpack(outside, data)
    assert gpu_run.unpack(Path(archives["train"]), data) == data / "train"
    with pytest.raises(InputError, match="a second archive with a folder train"):
        gpu_run.unpack(Path(archives["train"]), data)


def test_a_folder_that_holds_something_is_left_alone(archives, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    for output, reason in (("out", "is not empty"), ("out/mine", "is a file")):
        with pytest.raises(InputError, match=f"--output .*{output}: {reason}; give a new folder"):
            gpu_run.run([archives["train"]], str(tmp_path / output))


def test_the_folders_for_results_and_for_work_are_two(archives, tmp_path):
    with pytest.raises(InputError, match=r"--work_dir .*one: is the folder of --output; give"):
        gpu_run.run([archives["train"]], str(tmp_path / "one"), work_dir=str(tmp_path / "one"))
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("option", ["archives", "valid"])
def test_an_archive_that_cannot_be_read_is_found_before_anything_is_made(
    archives, tmp_path, option
):
    (tmp_path / "broken.tar").write_bytes(b"no tar")
    before = set(tmp_path.iterdir())
    for name, reason in (
        ("nothing.tar", "No such file or directory"),
        ("broken.tar", "not a tar file"),
        (".", "Is a directory"),
    ):
        given = {"archives": [archives["train"]], "valid": archives["valid"]}
        given[option] = [str(tmp_path / name)] if option == "archives" else str(tmp_path / name)
        folders = {name: str(tmp_path / name) for name in ("output", "work_dir")}
        with pytest.raises(InputError, match=rf"--{option}: .*cannot be unpacked \({reason}\)"):
            gpu_run.run(**given, **folders)
        assert set(tmp_path.iterdir()) == before


def run_on_a_cpu(archives, tmp_path, monkeypatch, valid):
    """A run with a small model, few questions and steps; its stages' numbers."""
    monkeypatch.setattr(timed, "MOST_STEPS", 6)
    monkeypatch.setattr(gpu_run, "ASKED", 8)
    monkeypatch.setattr(gpu_run, "PROBED", 1)
    gpu_run.run(
        [archives["train"], archives["recorded"]],
        str(tmp_path / "out"),
        valid,
        str(tmp_path / "work"),
        minutes=0.5,
        batch_size=4,
    )
    results = json.loads((tmp_path / "out" / gpu_run.RESULTS).read_text())
    assert results["complete"]
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
    output = tmp_path / "out"
    assert load(output / "adapter", base=output / "base", verbose=False).answer


@pytest.mark.slow
def test_without_a_validation_split_it_makes_the_base_alone(
    tiny_architecture, archives, tmp_path, monkeypatch
):
    stages = run_on_a_cpu(archives, tmp_path, monkeypatch, None)
    assert list(stages) == ["unpack", "pretrain"]
    assert BaseVLM(tmp_path / "out" / "base", verbose=False).processor
    assert not (tmp_path / "out" / "adapter").exists()
