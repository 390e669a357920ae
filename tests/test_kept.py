"""What a user has, an adapter or the checkpoints of a run, is kept whatever is started next."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import stop_at

from homework import base_vlm, finetune, pretrain
from homework.common import cli
from homework.common.errors import InputError
from homework.common.runs import LOCK, alone, steps_between
from homework.model import adapter
from homework.training import adapters, curves, resume

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    """Where replaced adapters are kept."""
    monkeypatch.setattr(adapters, "RUNS_DIR", tmp_path / "runs")
    return tmp_path / "runs"


def write_adapter(folder: Path, text: str) -> Path:
    """The files of an adapter, all of which hold `text`."""
    folder.mkdir(parents=True)
    for name in adapter.FILES:
        (folder / name).write_text(text)
    return folder


def text_of(folder: Path) -> str | None:
    """The text that all files of an adapter hold; None where there is no whole one."""
    if not adapters.is_adapter(folder):
        return None
    [text] = {(folder / name).read_text() for name in adapter.FILES}
    return text


# --- an adapter that another takes the place of ---


@pytest.fixture
def trained_twice(options, capsys) -> Iterator[tuple[dict, bytes]]:
    """The options of two trainings into one folder, and the first one's weights."""
    finetune.train(**options)
    first = Path(options["output_dir"], adapter.WEIGHTS).read_bytes()
    capsys.readouterr()
    return options | {"max_steps": 1}, first


def test_the_previous_adapter_is_kept_and_the_printed_command_brings_it_back(
    trained_twice, runs, capsys, monkeypatch
):
    again, first = trained_twice
    output = Path(again["output_dir"])
    finetune.train(**again)
    assert (output / adapter.WEIGHTS).read_bytes() != first
    assert (runs / "out-1" / curves.CURVES).exists()
    printed = capsys.readouterr().out
    assert f"the previous adapter is kept in {runs / 'out-1'}" in printed
    [command] = re.findall("^  python -m (homework.finetune .*)$", printed, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    cli.run({"restore": finetune.restore})
    assert (output / adapter.WEIGHTS).read_bytes() == first
    base_vlm.load(output, verbose=False)


def test_an_adapter_is_replaced_without_a_copy_where_that_is_asked_for(trained_twice, runs):
    again, first = trained_twice
    finetune.train(**again, overwrite=True)
    assert Path(again["output_dir"], adapter.WEIGHTS).read_bytes() != first
    assert not runs.exists()


def test_the_same_training_again_leaves_no_second_copy(options, runs):
    for _ in range(2):
        finetune.train(**options)
    assert not runs.exists()


def test_a_training_that_stops_leaves_the_previous_adapter_working(trained_twice, monkeypatch):
    again, first = trained_twice
    stop_at(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**again)
    assert Path(again["output_dir"], adapter.WEIGHTS).read_bytes() == first
    base_vlm.load(again["output_dir"], verbose=False)


def test_a_copy_that_could_not_be_written_is_refused_before_the_first_step(
    trained_twice, runs, monkeypatch
):
    again, _ = trained_twice
    runs.write_text("in the way")
    stop_at(monkeypatch, 0, AssertionError)
    with pytest.raises(InputError, match=r"out-1: cannot be written .* or --overwrite"):
        finetune.train(**again)


def test_a_full_disk_names_the_copy_and_leaves_the_adapter_in_place(tmp_path, runs, monkeypatch):
    folder = write_adapter(tmp_path / "model", "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left .*/runs/model-1.partial/adapter_config.json"):
        adapters.put(write_adapter(tmp_path / "fresh", "new"), folder)
    assert text_of(folder) == "old"
    assert not list(runs.iterdir())


@pytest.mark.parametrize("moment", range(8))
def test_a_kill_at_any_moment_leaves_one_adapter_whole(tmp_path, runs, monkeypatch, moment):
    """Stopped before any of its renames: the old one in place or kept, or the new one in place."""
    folder = write_adapter(tmp_path / "model", "old")
    fresh = write_adapter(tmp_path / "fresh", "new")
    moves = []  # three files are copied, their folder is renamed, three files are moved

    def stopping(move):
        def moved(*paths):
            if len(moves) == moment:
                raise KeyboardInterrupt
            moves.append(paths)
            return move(*paths)

        return moved

    monkeypatch.setattr(os, "replace", stopping(os.replace))
    monkeypatch.setattr(Path, "rename", stopping(Path.rename))
    if moment < 7:
        with pytest.raises(KeyboardInterrupt):
            adapters.put(fresh, folder)
    else:
        adapters.put(fresh, folder)
    whole = {text_of(folder), text_of(runs / "model-1")} - {None}
    assert "old" in whole and (moment < 7 or "new" in whole)
    assert len(moves) == min(moment, 7)


def test_kept_adapters_are_numbered(tmp_path, runs, capsys):
    folder = write_adapter(tmp_path / "model", "0")
    (runs / "model-7b").mkdir(parents=True)
    for number in range(1, 12):
        adapters.put(write_adapter(tmp_path / "fresh", str(number)), folder)
    assert [text_of(runs / f"model-{number}") for number in range(1, 12)] == [
        str(number) for number in range(11)
    ]


def test_restoring_keeps_what_is_in_the_place(tmp_path, runs):
    folder = write_adapter(tmp_path / "model", "new")
    write_adapter(runs / "model-1", "old")
    finetune.restore(str(runs / "model-1"), str(folder))
    assert text_of(folder) == text_of(runs / "model-1") == "old"
    assert text_of(runs / "model-2") == "new"
    with pytest.raises(InputError, match="no such checkpoint"):
        finetune.restore(str(runs / "model-9"), str(folder))


# --- the checkpoints of an unfinished run ---


def test_a_changed_option_keeps_the_checkpoints_until_it_is_changed_back(
    unfinished,
    options,
    monkeypatch,
    capsys,
):
    with monkeypatch.context() as patch:
        stop_at(patch, 1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options, learning_rate=1e-5)
    [kept] = unfinished.glob("checkpoint-unfinished-*")
    assert f"kept in {kept}" in capsys.readouterr().out
    assert json.loads((kept / "recipe.json").read_text())["max_steps"] == 4
    assert [path.name for path in resume.checkpoints(kept)] == ["checkpoint-2", "checkpoint-3"]

    finetune.train(**options)
    assert f"goes on from {unfinished / 'checkpoint-3'}" in capsys.readouterr().out
    finetune.train(**options, learning_rate=1e-5)
    assert f"goes on from {unfinished / 'checkpoint-1'}" in capsys.readouterr().out
    assert not list(unfinished.glob("checkpoint-*"))


def make_checkpoint(run_dir: Path, step: int) -> Path:
    folder = run_dir / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(run_dir.name)
    resume.seal(folder)
    return folder


def test_checkpoints_of_the_newest_unfinished_runs_are_kept(tmp_path, capsys):
    for seed in range(7):
        assert resume.start(tmp_path, {"seed": seed}) is None
        make_checkpoint(tmp_path, 1)
    kept = [
        json.loads((path / "recipe.json").read_text())["seed"]
        for path in tmp_path.glob("checkpoint-unfinished-*")
    ]
    assert sorted(kept) == [2, 3, 4, 5]
    assert capsys.readouterr().out.count("removes ") == 2


@pytest.mark.parametrize("moment", range(5))
def test_a_kill_while_checkpoints_are_moved_gives_them_to_no_other_run(
    tmp_path, monkeypatch, moment
):
    recipes = {"a": {"seed": 0}, "b": {"seed": 1}}
    resume.start(tmp_path, recipes["a"])
    for step in (1, 2):
        make_checkpoint(tmp_path, step)
    replace, moves = os.replace, []

    def stopping(*paths):
        if len(moves) == moment:
            raise KeyboardInterrupt
        moves.append(paths)
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopping)
        try:
            resume.start(tmp_path, recipes["b"])
        except KeyboardInterrupt:
            assert moment < 4
    assert resume.last_checkpoint(tmp_path, recipes["b"]) is None
    assert resume.start(tmp_path, recipes["b"]) is None
    assert resume.start(tmp_path, recipes["a"]) == tmp_path / "checkpoint-2"
    assert [path.name for path in resume.checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]


@given(st.integers(1, 100_000))
def test_any_run_has_five_checkpoints_and_a_long_one_has_one_every_200_steps(steps):
    between = steps_between(steps)
    assert 1 <= between <= 200
    assert steps // between >= min(steps, 5)
    assert between == 200 or steps < 1000


def test_a_short_run_that_is_stopped_has_a_checkpoint(options, monkeypatch):
    del options["save_steps"]
    stop_at(monkeypatch, 7, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**options | {"max_steps": 10})
    found = resume.checkpoints(Path(options["output_dir"]))
    assert [path.name for path in found] == ["checkpoint-4", "checkpoint-6"]


# --- two trainings in one folder ---

HOLD = "import sys; from pathlib import Path; from homework.common.runs import alone\n" + (
    "with alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def other_training(tmp_path):
    """Another process that trains in `tmp_path`/out."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["train", "pretrain", "restore"])
def test_a_second_training_in_a_folder_is_refused(
    command,
    options,
    tmp_path,
    other_training,
    monkeypatch,
):
    out, data = options["output_dir"], str(Path(options["data_dir"]) / "train")
    second = {
        "train": lambda: finetune.train(**options),
        "pretrain": lambda: pretrain.run(data, str(tmp_path / "base"), out),
        "restore": lambda: finetune.restore(str(write_adapter(tmp_path / "kept", "x")), out),
    }[command]
    with pytest.raises(InputError, match="another training is writing to this folder") as caught:
        second()
    assert out in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in Path(out).iterdir()] == [LOCK]


def test_a_killed_training_leaves_no_lock(tmp_path, other_training):
    other_training.kill()
    other_training.wait()
    with alone(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


def test_one_of_several_processes_takes_the_lock(tmp_path, other_training, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with alone(tmp_path / "out"):
        pass


# --- results that could not be written ---


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
    assert str(caught.value).startswith(target) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
