"""A full disk, or a folder that cannot be written to, is one line in every command that writes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from homework import download, finetune, generate_qa
from homework.common.errors import InputError
from homework.model import adapter_files
from lab import pretrain

ROOT = Path(__file__).resolve().parent.parent
needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of a process")


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
        "generate": lambda: generate_qa.generate(
            str(split), str(target / "pairs.json"), 1, overwrite=True
        ),
        "balance": lambda: generate_qa.balance(
            "train", 2, data_dir=str(labelled), output=str(target / "pairs.json")
        ),
        "check": lambda: generate_qa.check(
            str(split / "00001_info.json"), 1, str(target / "seen.png"), overwrite=True
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


@needs_posix
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("train", marks=pytest.mark.slow),
        pytest.param("pretrain", marks=pytest.mark.slow),
        "generate",
    ],
)
def test_a_disk_that_fills_in_the_middle_of_a_file_is_one_line(
    command, options, labelled, tmp_path
):
    """A real limit, so that native code meets it too: one line, exit code 1, nothing half."""
    import resource

    out = tmp_path / "out"
    arguments = {
        "train": [
            "homework.finetune",
            "train",
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        "pretrain": ["lab.pretrain", "run", f"--data_dir={labelled / 'train'}", f"--output={out}"],
        "generate": ["homework.generate_qa", "generate", f"--data_dir={labelled / 'train'}"],
    }[command]
    short = ["--steps=2", "--dense_steps=1", "--batch_size=2"]
    arguments += {
        "pretrain": [f"--work_dir={out}", *short],
        "generate": [f"--output={out / 'x'}"],
    }.get(command, [])
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(out) in errors[0] and "cannot be written" in errors[0]
    for file in ("x", adapter_files.BASE, "config.json", "checkpoint-*.safetensors"):
        assert not list(out.rglob(file))
