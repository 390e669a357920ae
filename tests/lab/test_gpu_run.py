"""A GPU run on the CPU, with the clock and the steps scaled down."""

import itertools
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import helpers
import pytest
import torch
from helpers import make_split

from homework.base_vlm import load
from homework.common.errors import InputError
from homework.frames.split import list_split, read_info
from lab import gpu_data, gpu_pretrain, gpu_run
from lab.pretraining import architecture
from lab.recording.session import MANIFEST


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
        if name == "recorded":
            (folder / MANIFEST).write_text("{}")
        (folder / "00000_00_im.jpg").unlink()  # shows nothing, and is the same in all
        made[name] = str(packed(folder, tmp_path / f"{name}.tar"))
    return made


def test_a_stage_has_its_share_and_what_others_left():
    now = iter([0, 0, 10, 60, 100])
    budget = gpu_run.Budget(100, lambda: next(now))
    assert budget.left("unpack") == pytest.approx(8)
    assert budget.left("unpack") == pytest.approx(-2)
    assert budget.left("pretrain") == pytest.approx(8)
    assert budget.left("evaluate") == pytest.approx(0)
    assert sum(gpu_run.SHARES.values()) == pytest.approx(1)


def test_as_many_steps_as_fit_and_one_at_least():
    assert gpu_run.steps_within(100, 0.5) == int(gpu_run.MARGIN * 100 / 0.5)
    assert gpu_run.steps_within(100, 0.5, 20) == int((gpu_run.MARGIN * 100 - 20) / 0.5)
    assert gpu_run.steps_within(-3, 0.5) == 1


def test_pretraining_ends_with_its_time():
    now = itertools.count()
    taken = list(gpu_pretrain.until(lambda first: range(first, 100), 4, lambda: next(now))(2))
    assert taken == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(("seconds", "taken"), [(1000, 4), (1, 2)])
def test_the_rate_of_the_first_steps_is_measured(monkeypatch, seconds, taken):
    """Dense steps of 2 s, then of 5 s with sentences; the first of each take far longer."""
    monkeypatch.setattr(gpu_pretrain, "PROBE", 4)
    clock = SimpleNamespace(now=0.0, steps=0)
    weight = torch.nn.Parameter(torch.ones(1))

    class Task:
        steps, dense_steps, weights, optimizers = 8, 4, {"w": weight}, ()
        seed, device, dtype = 0, "cpu", torch.float32

        def batches(self, first):
            for step in range(first, self.steps):
                clock.now += 30 if step == first else 2 if step < 4 else 5
                clock.steps += 1
                yield [SimpleNamespace(weight=1.0, paths=[])]

        def learning_rate(self, step):
            return 0.0

        def loss(self, batch):
            return weight.sum(), {}

        def measure(self, step):
            clock.now += 7

    assert gpu_pretrain.timed(Task(), seconds, lambda: clock.now) == (2, 5, 7)
    assert clock.steps == 2 * taken


def test_races_are_held_out_of_the_dataset_and_stay_in_recordings(archives, tmp_path):
    data = tmp_path / "data"
    folders = [gpu_data.unpack(Path(archives[name]), data) for name in ("train", "recorded")]
    before = [list_split(folder) for folder in folders]
    tracks = gpu_data.hold_races_out(folders, data)
    assert tracks and tracks == sorted(tracks)
    held = list_split(data / gpu_data.HELD_OUT_RACES)
    for folder, inside in ((held.folder, True), (folders[0], False)):
        found = list_split(folder)
        for name in found.info_files:
            assert (read_info(folder / name)["track"] in tracks) == inside
        assert not found.orphans
    assert set(held.names) | set(list_split(folders[0]).names) == set(before[0].names)
    assert list_split(folders[1]).names == before[1].names


def test_archives_of_another_form_are_one_line(archives, tmp_path):
    data = tmp_path / "data"
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"broken\.tar: cannot be unpacked"):
        gpu_data.unpack(broken, data)
    with pytest.raises(InputError, match=r"nothing\.tar: cannot be unpacked \(No such file"):
        gpu_data.unpack(tmp_path / "nothing.tar", data)
    loose = packed(next((tmp_path / "made" / "train").glob("*.json")), tmp_path / "loose.tar")
    with tarfile.open(loose, "a") as file:
        file.add(tmp_path / "made" / "valid", "valid")
    with pytest.raises(InputError, match="not the folder of one split; pack it with tar"):
        gpu_data.unpack(loose, data)
    outside = packed(tmp_path / "made" / "train", tmp_path / "outside.tar", "../train")
    with pytest.raises(InputError, match="outside"):
        gpu_data.unpack(outside, data)
    folders = [gpu_data.unpack(Path(archives[name]), data) for name in ("recorded", "train")]
    with pytest.raises(InputError, match="give the dataset's train split first"):
        gpu_data.hold_races_out(folders, data)
    with pytest.raises(InputError, match="a second archive with a folder train"):
        gpu_data.unpack(Path(archives["train"]), data)


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


@pytest.mark.slow
def test_a_whole_run_within_its_time(tiny_architecture, archives, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_pretrain, "PROBE", 2)
    monkeypatch.setattr(gpu_run, "ASKED", 8)
    output = tmp_path / "out"
    gpu_run.run(
        [archives["train"], archives["recorded"]],
        str(output),
        archives["valid"],
        str(tmp_path / "work"),
        minutes=0.5,
        batch_size=4,
        most_steps=6,
    )
    results = json.loads((output / gpu_run.RESULTS).read_text())
    assert results["complete"]
    stages = results["stages"]
    assert list(stages) == [
        "unpack",
        "pretrain",
        "finetune",
        "evaluate held_out_races",
        "evaluate valid",
    ]
    assert 1 <= stages["pretrain"]["steps"] <= 6
    assert stages["pretrain"]["pictures"] == 4 * stages["pretrain"]["steps"]
    assert 1 <= stages["finetune"]["steps"] <= stages["finetune"]["of"]
    for split in ("held_out_races", "valid"):
        found = stages[f"evaluate {split}"]
        assert 1 <= found["asked"] <= found["of"]
        assert sum(row["total"] for row in found["kinds"]) == found["asked"]
        assert 0 <= found["kinds_alike"] <= 1
    assert load(output / "adapter", base=output / "base", verbose=False).answer


@pytest.mark.slow
def test_the_base_alone_with_the_better_of_two_stems(
    tiny_architecture, archives, tmp_path, monkeypatch
):
    monkeypatch.setattr(gpu_pretrain, "PROBE", 2)
    output = tmp_path / "out"
    gpu_run.run(
        [archives["train"], archives["recorded"]],
        str(output),
        work_dir=str(tmp_path / "work"),
        minutes=0.5,
        batch_size=4,
        described=0.25,
        stems=["blocks", "no_blocks"],
        trial_minutes=0.1,
        most_steps=8,
    )
    results = json.loads((output / gpu_run.RESULTS).read_text())
    assert results["complete"] and not results["stages"]["unpack"]["held_out_races"]
    trials, base = results["stages"]["trials"], results["stages"]["pretrain"]
    assert {"blocks", "no_blocks"} <= trials.keys()
    best = max(("blocks", "no_blocks"), key=lambda stem: trials[stem]["held_out"])
    assert base["stem"] == best and 1 <= base["steps"] <= 8
    assert base["held_out"] == pytest.approx(sum(base["kinds"].values()) / len(base["kinds"]))
    blocks = json.loads((output / "base" / "config.json").read_text())["stem_blocks"]
    assert blocks == architecture.base_config(gpu_pretrain.STEMS[best]).stem_blocks
