"""A run of a training: how often it writes a checkpoint, and the lock on its folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework import finetune
from homework.common.errors import InputError
from homework.common.runs import LOCK, locked, steps_between
from lab import pretrain

ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(1, 100_000))
def test_any_run_has_five_checkpoints_and_a_long_one_has_one_every_200_steps(steps):
    between = steps_between(steps)
    assert 1 <= between <= 200
    assert steps // between >= min(steps, 5)
    assert between == 200 or steps < 1000


HOLD = "import sys; from pathlib import Path; from homework.common.runs import locked\n" + (
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
