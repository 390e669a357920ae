"""An adapter that a user has is kept, whatever is started next."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from trainings import stop_at, write_adapter

from homework import base_vlm, finetune
from homework.common import cli
from homework.common.errors import InputError
from homework.inspection import figures
from homework.model import adapter_files
from homework.training import adapters


def text_of(folder: Path) -> str | None:
    """The text that all files of an adapter hold; None where there is no whole one."""
    if not adapter_files.is_whole(folder):
        return None
    files = [folder / name for name in adapter_files.FILES]
    [text] = {file.read_text() for file in files if file.is_file()}
    return text


@pytest.fixture
def trained_twice(finished_run, options) -> tuple[dict, bytes]:
    """The options of two trainings into one folder, and the first one's weights."""
    shutil.copytree(finished_run, options["output_dir"])
    first = Path(options["output_dir"], adapter_files.WEIGHTS).read_bytes()
    return options | {"max_steps": 1}, first


def test_the_previous_adapter_is_kept_and_the_printed_command_brings_it_back(
    trained_twice, runs, capsys, monkeypatch
):
    again, first = trained_twice
    output = Path(again["output_dir"])
    finetune.train(**again)
    assert (output / adapter_files.WEIGHTS).read_bytes() != first
    assert (runs / "out-1" / figures.CURVES).exists()
    printed = capsys.readouterr().out
    assert f"the previous adapter is kept in {runs / 'out-1'}" in printed
    [command] = re.findall("^  python -m (homework.finetune .*)$", printed, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    cli.run({"restore": finetune.restore})
    assert (output / adapter_files.WEIGHTS).read_bytes() == first
    base_vlm.load(output, verbose=False)


def test_an_adapter_is_replaced_without_a_copy_where_that_is_asked_for(trained_twice, runs):
    again, first = trained_twice
    finetune.train(**again, overwrite=True)
    assert Path(again["output_dir"], adapter_files.WEIGHTS).read_bytes() != first
    assert not runs.exists()


@pytest.mark.slow
def test_the_same_training_again_leaves_no_second_copy(options, runs):
    for _ in range(2):
        finetune.train(**options)
    assert not runs.exists()


def test_a_stopped_training_leaves_the_previous_adapter_working(trained_twice, monkeypatch):
    again, first = trained_twice
    stop_at(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**again)
    assert Path(again["output_dir"], adapter_files.WEIGHTS).read_bytes() == first
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
@pytest.mark.parametrize(
    "old", [adapter_files.FILES, adapter_files.NEEDED], ids=["ours", "of PEFT"]
)
@pytest.mark.parametrize(
    "new", [adapter_files.FILES, adapter_files.NEEDED], ids=["ours", "of PEFT"]
)
def test_a_kill_at_any_moment_leaves_one_adapter_whole(
    tmp_path, runs, monkeypatch, moment, old, new
):
    """Stopped before any of its renames: the old one in place or kept, or the new one in place."""
    folder = write_adapter(tmp_path / "model", "old", old)
    fresh = write_adapter(folder / adapter_files.FRESH, "new", new)
    adapters.keep_others(folder)  # as the commands do first, with what is not theirs
    # Our old files are copied and their folder is renamed; then the new files are moved.
    moves, all_of_them = [], (len(old) + 1) * (old == adapter_files.FILES) + len(new)

    def stopping(move):
        def moved(*paths):
            if len(moves) == moment:
                raise KeyboardInterrupt
            moves.append(paths)
            return move(*paths)

        return moved

    monkeypatch.setattr(os, "replace", stopping(os.replace))
    monkeypatch.setattr(Path, "rename", stopping(Path.rename))
    if moment < all_of_them:
        with pytest.raises(KeyboardInterrupt):
            adapters.put(fresh, folder)
    else:
        adapters.put(fresh, folder)
    whole = {text_of(folder), text_of(runs / "model-1")} - {None}
    assert "old" in whole and (moment < all_of_them or "new" in whole)
    assert len(moves) == min(moment, all_of_them)


def test_kept_adapters_are_numbered(tmp_path, runs, capsys):
    folder = write_adapter(tmp_path / "model", "0")
    (runs / "model-7b").mkdir(parents=True)
    for number in range(1, 12):
        adapters.put(write_adapter(tmp_path / "fresh", str(number)), folder)
    assert [text_of(runs / f"model-{number}") for number in range(1, 12)] == [
        str(number) for number in range(11)
    ]


def test_restoring_keeps_what_is_in_the_place(finished_run, tmp_path, runs):
    folder = write_adapter(tmp_path / "model", "new")
    shutil.copytree(finished_run, runs / "model-1")
    finetune.restore(str(runs / "model-1"), str(folder))
    for name in adapter_files.FILES:
        old = (finished_run / name).read_bytes()
        assert (folder / name).read_bytes() == (runs / "model-1" / name).read_bytes() == old
    assert text_of(runs / "model-2") == "new"
    with pytest.raises(InputError, match="no such checkpoint"):
        finetune.restore(str(runs / "model-9"), str(folder))


def flip(data: bytearray) -> None:
    data[-5] ^= 1  # a bit of one weight: the file still reads


def cut(data: bytearray) -> None:
    del data[-100:]


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("name", [adapter_files.WEIGHTS, adapter_files.CONFIG])
def test_a_damaged_copy_never_takes_the_place_of_an_adapter(
    damage, name, finished_run, tmp_path, runs
):
    kept, output = (shutil.copytree(finished_run, tmp_path / folder) for folder in ("kept", "out"))
    data = bytearray((kept / name).read_bytes())
    damage(data)
    (kept / name).write_bytes(data)
    before = {file: (output / file).read_bytes() for file in adapter_files.FILES}
    with pytest.raises(InputError, match=r"damaged|not valid JSON|malformed|cannot be read"):
        finetune.restore(str(kept), str(output))
    with pytest.raises(InputError):
        base_vlm.load(kept, verbose=False)
    assert before == {file: (output / file).read_bytes() for file in adapter_files.FILES}


def test_an_adapter_without_a_digest_of_its_weights_still_loads(finished_run, tmp_path):
    """Earlier versions did not write one."""
    old = shutil.copytree(finished_run, tmp_path / "old")
    record = json.loads((old / adapter_files.BASE).read_text())
    del record["weights_sha256"]
    (old / adapter_files.BASE).write_text(json.dumps(record))
    base_vlm.load(old, verbose=False)
