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
from homework.training import checkpoints
from homework.training.checkpoints import Checkpoint


def names(run_dir: Path) -> list[str]:
    return [file.name for file in checkpoints.checkpoints(run_dir)]


def make_checkpoint(run_dir: Path, step: int) -> None:
    checkpoints.write(run_dir, Checkpoint(step, {"weights": torch.ones(step)}, {}))


def begin(run_dir: Path, recipe: dict) -> Path | None:
    """The checkpoint that a run of this recipe begins from."""
    checkpoints.start(run_dir, recipe)
    found = checkpoints.last(run_dir, recipe)
    return found[0] if found else None


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def change_a_weight(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def change_the_record(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"grad_norm", b"grad_nice", 1))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut_short, change_a_weight, change_the_record])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage, unfinished, options, capsys
):
    newest = unfinished / "checkpoint-3.safetensors"
    damage(newest)
    assert [path.name for path in checkpoints.checkpoints(unfinished)] == [
        "checkpoint-2.safetensors",
        "checkpoint-3.safetensors",
    ]
    finetune.train(**options)
    assert f"continues from {unfinished / 'checkpoint-2.safetensors'}" in capsys.readouterr().out
    again = {**options, "output_dir": str(unfinished.parent / "undisturbed")}
    finetune.train(**again)
    weights = [Path(o["output_dir"], adapter.WEIGHTS).read_bytes() for o in (options, again)]
    assert weights[0] == weights[1]
    assert not checkpoints.checkpoints(unfinished)


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
    assert checkpoints.last(unfinished, recipe) is None


def test_a_pickle_in_a_checkpoint_never_runs(unfinished, options, tmp_path, capsys):
    witness = tmp_path / "unpickled"
    torch.save({"state": MustNotRun(witness)}, unfinished / "checkpoint-3.safetensors")
    finetune.train(**options)
    assert f"continues from {unfinished / 'checkpoint-2.safetensors'}" in capsys.readouterr().out
    assert not witness.exists()


def drop(part: str):
    """Leave out the first of the tensors whose names begin so."""
    return lambda tensors: tensors.pop(next(name for name in tensors if name.startswith(part)))


def misshape(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if name.startswith("weights."))
    tensors[name] = torch.zeros(3)


def misname(tensors: dict[str, torch.Tensor]) -> None:
    tensors["optimizer.7.0.step"] = torch.zeros(1)


@pytest.mark.parametrize("forge", [drop("weights."), misshape, misname])
def test_a_checkpoint_of_another_form_is_one_line_even_under_its_own_digest(
    forge, unfinished, options
):
    file = unfinished / "checkpoint-3.safetensors"
    found = checkpoints.read(file)
    forge(found.tensors)
    checkpoints.write(unfinished, found)
    with pytest.raises(InputError, match=r"checkpoint-3.safetensors: does not fit .*; delete it"):
        finetune.train(**options)


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
    assert names(kept) == ["checkpoint-2.safetensors", "checkpoint-3.safetensors"]

    finetune.train(**options)
    assert f"continues from {unfinished / 'checkpoint-3.safetensors'}" in capsys.readouterr().out
    finetune.train(**options, learning_rate=1e-5)
    assert f"continues from {unfinished / 'checkpoint-1.safetensors'}" in capsys.readouterr().out
    assert not list(unfinished.glob("checkpoint-*"))


def test_checkpoints_of_the_newest_unfinished_runs_are_kept(tmp_path, capsys):
    for seed in range(7):
        assert begin(tmp_path, {"seed": seed}) is None
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
    checkpoints.start(tmp_path, recipes["a"])
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
            checkpoints.start(tmp_path, recipes["b"])
        except KeyboardInterrupt:
            assert moment < 4
    assert checkpoints.last(tmp_path, recipes["b"]) is None
    assert begin(tmp_path, recipes["b"]) is None
    assert begin(tmp_path, recipes["a"]) == tmp_path / "checkpoint-2.safetensors"
    assert names(tmp_path) == ["checkpoint-1.safetensors", "checkpoint-2.safetensors"]


def test_a_short_run_that_is_stopped_has_a_checkpoint(options, monkeypatch):
    del options["save_steps"]
    stop_at(monkeypatch, 7, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**options | {"max_steps": 10})
    found = names(Path(options["output_dir"]))
    assert found == ["checkpoint-4.safetensors", "checkpoint-6.safetensors"]
