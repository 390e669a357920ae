"""A stopped training continues from its last whole checkpoint of the same recipe."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from corrupted_checkpoints import MustNotRun
from trainings import stop_at

from homework import finetune
from homework.common.errors import InputError
from homework.model import adapter
from homework.training import resume


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_short_run_that_is_stopped_has_a_checkpoint(options, monkeypatch):
    del options["save_steps"]
    stop_at(monkeypatch, 7, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**options | {"max_steps": 10})
    found = resume.checkpoints(Path(options["output_dir"]))
    assert [path.name for path in found] == ["checkpoint-4", "checkpoint-6"]
