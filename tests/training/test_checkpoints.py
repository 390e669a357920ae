"""A stopped training continues from its last whole checkpoint of the same recipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from corrupted_checkpoints import MustNotRun
from hypothesis import given
from hypothesis import strategies as st
from trainings import stop_at

from homework import finetune
from homework.common.errors import InputError
from homework.model import adapter_files
from homework.training import checkpoints
from homework.training.checkpoints import LOCK, Checkpoint, locked, steps_between
from lab import pretrain


def names(run_dir: Path) -> list[str]:
    return [file.name for file in checkpoints.checkpoints(run_dir)]


def make_checkpoint(run_dir: Path, step: int) -> None:
    checkpoints.write(run_dir, Checkpoint(step, {"weights": torch.ones(step)}, {}))


def begin(run_dir: Path, recipe: dict) -> Path | None:
    """The checkpoint that a run of this recipe begins from."""
    checkpoints.start(run_dir, recipe, overwrite=True)
    found = checkpoints.newest(run_dir)
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
    weights = [Path(o["output_dir"], adapter_files.WEIGHTS).read_bytes() for o in (options, again)]
    assert weights[0] == weights[1]
    assert not checkpoints.checkpoints(unfinished)


def test_checkpoints_of_other_options_are_refused_until_the_user_says_that_they_may_go(
    unfinished, options, monkeypatch, capsys
):
    before = {file.name: file.read_bytes() for file in unfinished.glob("*.safetensors")}
    with pytest.raises(InputError) as caught:
        finetune.train(**options, learning_rate=1e-5)
    assert str(caught.value) == (
        f"{unfinished}: holds checkpoints of another run: learning_rate 0.0005 (now 1e-05); to "
        "continue that run, give it the same again; to begin anew, delete "
        f"{unfinished}/checkpoint-*"
    )
    assert before == {file.name: file.read_bytes() for file in unfinished.glob("*.safetensors")}

    with monkeypatch.context() as patch:
        stop_at(patch, 0, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options, learning_rate=1e-5, overwrite=True)
    # A second kill must not give them to the new options, which are written down now.
    assert names(unfinished) == []
    assert json.loads((unfinished / "recipe.json").read_text())["learning_rate"] == 1e-5
    finetune.train(**options, learning_rate=1e-5)
    assert "continues from" not in capsys.readouterr().out


def other_answers(folder: Path) -> None:
    file = folder / "train" / "train_qa_pairs.json"
    pairs = json.loads(file.read_text())
    file.write_text(json.dumps([pair | {"answer": "0"} for pair in pairs]))


def another_image(folder: Path) -> None:
    first, second, *_ = sorted((folder / "train").glob("*_im.jpg"))
    status = first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [other_answers, another_image])
def test_a_stopped_run_never_continues_with_other_data(
    change, options, tmp_path, monkeypatch, capsys
):
    data = tmp_path / "data"
    shutil.copytree(options["data_dir"], data)
    options["data_dir"] = str(data)
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.train(**options)
    before = shutil.copytree(data, tmp_path / "before")
    change(data)
    with pytest.raises(InputError, match=r"data_sha256 \w{12}\.\.\. \(now \w{12}\.\.\.\);"):
        finetune.train(**options)
    # The same data in another place is the same run.
    shutil.rmtree(data)
    stop_at(monkeypatch, 3, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**options | {"data_dir": str(before)})
    assert "checkpoint-3.safetensors" in capsys.readouterr().out


def test_a_run_that_did_not_record_its_data_is_refused_with_a_line(unfinished, options):
    """Such as one of an earlier version."""
    file = unfinished / "recipe.json"
    recipe = json.loads(file.read_text())
    del recipe["data_sha256"]
    file.write_text(json.dumps(recipe))
    with pytest.raises(InputError, match=r"another run: data_sha256 None \(now "):
        finetune.train(**options)


def test_a_run_of_an_earlier_version_is_refused_with_a_line(unfinished, options):
    file = unfinished / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"weighting": "question"}))
    with pytest.raises(InputError, match=r"another run: weighting 'question' \(now None\);"):
        finetune.train(**options)
    file.unlink()
    with pytest.raises(InputError, match=r"another run: its options are not known;"):
        finetune.train(**options)


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


@pytest.mark.parametrize("moment", range(3))
def test_a_kill_while_checkpoints_are_removed_gives_them_to_no_other_run(
    tmp_path, monkeypatch, moment
):
    checkpoints.start(tmp_path, {"seed": 0})
    for step in (1, 2):
        make_checkpoint(tmp_path, step)
    unlink, removed = Path.unlink, []

    def stopping(path, *args, **kwargs):
        if len(removed) == moment and path.suffix == ".safetensors":
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stopping)
        try:
            checkpoints.start(tmp_path, {"seed": 1}, overwrite=True)
        except KeyboardInterrupt:
            assert moment < 2
            with pytest.raises(InputError, match="holds checkpoints of another run"):
                checkpoints.start(tmp_path, {"seed": 1})
    assert begin(tmp_path, {"seed": 1}) is None


def test_a_short_run_that_is_stopped_has_a_checkpoint(options, monkeypatch):
    del options["save_steps"]
    stop_at(monkeypatch, 7, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        finetune.train(**options | {"max_steps": 10})
    found = names(Path(options["output_dir"]))
    assert found == ["checkpoint-4.safetensors", "checkpoint-6.safetensors"]


ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(1, 100_000))
def test_any_run_has_five_checkpoints_and_a_long_one_has_one_every_200_steps(steps):
    between = steps_between(steps)
    assert 1 <= between <= 200
    assert steps // between >= min(steps, 5)
    assert between == 200 or steps < 1000


HOLD = (
    "import sys; from pathlib import Path; from homework.training.checkpoints import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
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
    finished_run,
    tmp_path,
    other_training,
    monkeypatch,
):
    out, data = options["output_dir"], str(Path(options["data_dir"]) / "train")
    second = {
        "train": lambda: finetune.train(**options),
        "pretrain": lambda: pretrain.run(data, str(tmp_path / "base"), out),
        "restore": lambda: finetune.restore(str(finished_run), out),
    }[command]
    with pytest.raises(InputError, match="another training is writing to this folder") as caught:
        second()
    assert out in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in Path(out).iterdir()] == [LOCK]


def test_a_killed_training_leaves_no_lock(tmp_path, other_training):
    other_training.kill()
    other_training.wait()
    with locked(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


def test_one_of_several_processes_takes_the_lock(tmp_path, other_training, monkeypatch):
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with locked(tmp_path / "out"):
        pass
