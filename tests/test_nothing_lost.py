"""What a kill, a full disk or a number that is not finite must not cost."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from corrupted_checkpoints import MustNotRun
from trainings import stop_at

import bundle
from homework import download, finetune, generate_qa, pretrain
from homework.common.errors import InputError
from homework.common.files import atomic_write, install, read_plain
from homework.model import adapter, packing
from homework.training import resume
from homework.training.trainer import ViewTrainer

ROOT = Path(__file__).resolve().parent.parent
needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of a process")


# --- kills ---


@needs_posix
def test_kills_cost_nothing():
    """The short form of benchmarks/kills.py: a few moments for each job."""
    command = [sys.executable, "benchmarks/kills.py", "--moments", "2"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    for job, row in json.loads(ended.stdout.splitlines()[-1])["jobs"].items():
        assert row["kills"] == 2 and row["same"] == row["tries"] and not row["faults"], job


@needs_posix
def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale, alive = (tmp_path / f"a.json.{pid}.partial" for pid in (ended.pid, os.getppid()))
    other = tmp_path / f"b.json.{ended.pid}.partial"
    for file in (stale, alive, other):
        file.write_text("half")
    with atomic_write(tmp_path / "a.json") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", alive.name, other.name}


@pytest.mark.parametrize("moment", range(4))
def test_files_moved_in_are_never_taken_for_whole_too_early(tmp_path, monkeypatch, moment):
    """Stopped before any of its renames, `install` leaves no voucher over a mixture."""
    names, replaced = ("a", "b", "voucher"), []
    for folder in ("fresh", "there"):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(folder)
    replace = os.replace

    def stopping(*paths):
        if len(replaced) == moment:
            raise KeyboardInterrupt
        replaced.append(paths)
        replace(*paths)

    monkeypatch.setattr(os, "replace", stopping)
    if moment < len(names):
        with pytest.raises(KeyboardInterrupt):
            install(tmp_path / "fresh", tmp_path / "there", "voucher")
        assert not (tmp_path / "there" / "voucher").exists()
    else:
        install(tmp_path / "fresh", tmp_path / "there", "voucher")
        assert {(tmp_path / "there" / name).read_text() for name in names} == {"fresh"}
        assert not (tmp_path / "fresh").exists()


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(unfinished, options, capsys):
    newest = unfinished / "checkpoint-3"
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:-100])
    assert [path.name for path in resume.checkpoints(unfinished)] == [
        "checkpoint-2",
        "checkpoint-3",
    ]
    finetune.train(**options)
    assert f"goes on from {unfinished / 'checkpoint-2'}" in capsys.readouterr().out
    again = {**options, "output_dir": str(unfinished.parent / "undisturbed")}
    finetune.train(**again)
    weights = [Path(o["output_dir"], adapter.WEIGHTS).read_bytes() for o in (options, again)]
    assert weights[0] == weights[1]
    assert not resume.checkpoints(unfinished)


def test_checkpoints_of_other_settings_never_pass_for_those_of_this_run(
    unfinished, options, monkeypatch
):
    """They would after a second kill, once the new settings are written down."""
    options["learning_rate"] = 1e-5
    with monkeypatch.context() as patch:
        stop_at(patch, 0, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options)
    recipe = json.loads((unfinished / "recipe.json").read_text())
    assert recipe["learning_rate"] == 1e-5
    assert resume.last_checkpoint(unfinished, recipe) is None


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("forged", [False, True])
def test_a_pickle_in_a_checkpoint_never_runs(unfinished, options, tmp_path, capsys, file, forged):
    witness, folder = tmp_path / "unpickled", unfinished / "checkpoint-3"
    torch.save({"state": MustNotRun(witness)}, folder / file)
    if forged:  # even the digests: the loader takes numbers only
        resume.seal(folder)
        with pytest.raises(InputError, match="delete that folder"):
            finetune.train(**options)
    else:
        finetune.train(**options)
        assert "goes on from" in capsys.readouterr().out
    assert not witness.exists()


# --- numbers that are not finite ---


def test_a_loss_that_is_not_finite_stops_and_names_the_pictures(unfinished, options, monkeypatch):
    weighted_loss = packing.weighted_loss
    monkeypatch.setattr(packing, "weighted_loss", lambda *args: weighted_loss(*args) * math.nan)
    with pytest.raises(InputError, match=r"step 3: the loss .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert resume.is_whole(unfinished / "checkpoint-3")


def test_a_gradient_that_is_not_finite_stops_before_the_step(unfinished, options, monkeypatch):
    training_step = ViewTrainer.training_step

    def spoilt(self, model, *args, **kwargs):
        loss = training_step(self, model, *args, **kwargs)
        next(p for p in model.parameters() if p.requires_grad).grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(ViewTrainer, "training_step", spoilt)
    with pytest.raises(InputError, match=r"step 3: the gradient .*train/0000\d_0\d_im.jpg"):
        finetune.train(**options)
    assert resume.is_whole(unfinished / "checkpoint-3")


# --- disks that are full, and folders that cannot be written to ---


@pytest.fixture
def full_disk(monkeypatch) -> None:
    """From now on nothing reaches the disk."""

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def commands(labelled: Path, target: Path) -> dict:
    """What writes, by name: each to `target` or into it."""
    split = labelled / "train"
    return {
        "generate": lambda: generate_qa.generate(str(split), str(target / "pairs.json"), 1),
        "balance": lambda: generate_qa.balance(
            "train", 2, data_dir=str(labelled), output=str(target / "pairs.json")
        ),
        "check": lambda: generate_qa.check(
            str(split / "00001_info.json"), 1, str(target / "seen.png")
        ),
        "pretrain": lambda: pretrain.run(str(split), str(target / "base"), str(target / "work")),
        "download": lambda: download.download("http://127.0.0.1:9/x.zip", str(target)),
    }


@pytest.mark.parametrize("command", ["generate", "balance", "check"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(command, labelled, tmp_path, full_disk):
    for name in ("pairs.json", "seen.png"):
        (tmp_path / name).write_text("[]")
    with pytest.raises(InputError) as caught:
        if command == "balance":
            generate_qa.balance(
                "train", 2, 0, str(labelled), str(tmp_path / "pairs.json"), overwrite=True
            )
        commands(labelled, tmp_path)[command]()
    assert "No space left on device" in str(caught.value) and "make room" in str(caught.value)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"[]"}


@pytest.mark.parametrize("command", ["generate", "balance", "check", "pretrain", "download"])
def test_a_folder_that_cannot_be_written_to_is_one_line(command, labelled, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught:
        commands(labelled, tmp_path / "file" / "below")[command]()
    assert str(tmp_path / "file") in str(caught.value) and "\n" not in str(caught.value)


def test_training_into_a_file_is_one_line(options, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        finetune.train(**options)
    assert (tmp_path / "out").read_text() == "in the way"


def test_bundle_on_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "homework"
    (package / "vlm_model").mkdir(parents=True)
    for name in ("__init__.py", *bundle.ADAPTER):
        (package / name).write_text("x")
    (tmp_path / "ID.zip").write_text("the one before")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bundle, "_add", full)
    assert bundle.main(["homework", "ID"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "ID.zip" in line and "No space left on device" in line
    assert {path.name for path in tmp_path.iterdir()} == {"homework", "ID.zip"}
    assert (tmp_path / "ID.zip").read_text() == "the one before"


@needs_posix
@pytest.mark.parametrize("command", ["train", "pretrain", "generate"])
def test_a_disk_that_stops_in_the_middle_of_a_file(command, options, labelled, tmp_path):
    """A real limit, so that native code meets it too: one line, exit code 1, nothing half."""
    import resource

    out = tmp_path / "out"
    arguments = {
        "train": ["finetune", "train", *(f"--{name}={value}" for name, value in options.items())],
        "pretrain": ["pretrain", "run", f"--data_dir={labelled / 'train'}", f"--output={out}"],
        "generate": ["generate_qa", "generate", f"--data_dir={labelled / 'train'}"],
    }[command]
    arguments += {"pretrain": [f"--work_dir={out}"], "generate": [f"--output={out / 'x'}"]}.get(
        command, []
    )
    ended = subprocess.run(
        [sys.executable, "-m", f"homework.{arguments[0]}", *arguments[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(out) in errors[0] and "cannot be written" in errors[0]
    for file in ("x", adapter.BASE, "config.json", resume.COMPLETE):
        assert not list(out.rglob(file))


def test_files_without_end_are_not_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 31)
    for path, words in ((tmp_path / "large", "over 1,000 bytes"), (tmp_path, "director|plain")):
        with pytest.raises(OSError, match=words):
            read_plain(path, 1000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a plain file"):
            read_plain(tmp_path / "pipe", 1000)
    shutil.rmtree(tmp_path)
