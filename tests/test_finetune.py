"""Training: what is learned, what is written, what is refused, and going on after a kill."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny import write_tiny_base
from trainings import SMALL

from homework import finetune
from homework.common import distributed
from homework.common.errors import InputError
from homework.model import adapter_files, vlm
from homework.training import run
from homework.training.config import TrainConfig
from homework.training.loop import Loop
from homework.training.task import FineTuning

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def data_dir(sample_data):
    return sample_data


def test_training_writes_a_checkpoint_curves_and_events(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= names
    assert not [name for name in names if name.startswith("checkpoint-")]
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "runs").glob("*/events.out.tfevents*"))


@pytest.mark.slow
def test_the_text_side_alone_is_learned_and_read_back(base, data_dir, tmp_path, capsys):
    options = {"base": str(base), "train_vision": False, "max_steps": 4, **SMALL}
    output = tmp_path / "out"
    finetune.train(str(data_dir), output_dir=str(output), **options)
    names = load_file(output / adapter_files.WEIGHTS)
    assert names and all("text_model" in name for name in names)
    capsys.readouterr()
    finetune.test(str(output), "train", str(data_dir), max_samples=4)
    assert "questions/s" in capsys.readouterr().out


def test_validation_frames_are_refused_by_name_by_prefix_and_by_content(data_dir, base, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    output = str(tmp_path / "out")
    with pytest.raises(InputError, match="validation frames are never trained on"):
        finetune.train(str(folder), "valid_grader", output, str(base))

    shutil.copytree(folder / "train", folder / "valid")
    with pytest.raises(InputError, match="the same image as"):
        finetune.train(str(folder), "train", output, str(base))

    pairs = json.loads((folder / "train" / "train_qa_pairs.json").read_text())
    renamed = [{**p, "image_file": p["image_file"].replace("train/", "valid/")} for p in pairs]
    (folder / "train" / "train_qa_pairs.json").write_text(json.dumps(renamed))
    with pytest.raises(InputError, match="lies in a validation split"):
        finetune.train(str(folder), "train", output, str(base))
    assert not Path(output).exists()


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 0},
        {"lora_dropout": 1},
        {"lora_dropout": "x"},
        {"num_train_epochs": "many"},
        {"per_device_train_batch_size": 1.5},
        {"max_steps": 0},
        {"num_workers": -1},
        {"seed": None},
        {"tokens_per_pass": True},
        {"base": True},
        {"overwrite": 1},
        {"train_vision": "no"},
    ],
)
def test_options_are_checked_before_anything_is_loaded(option):
    with pytest.raises(InputError, match=f"^--{next(iter(option))}: "):
        finetune.train("nowhere", **option)


@pytest.mark.parametrize(
    ("model_type", "rate"), [("idefics3_stem", 1e-3), ("idefics3", 5e-4), ("smolvlm", 5e-4)]
)
def test_the_learning_rate_not_given_is_the_bases(model_type, rate):
    config = TrainConfig(lora_r=3).of_base("name", model_type)
    assert (config.base, config.learning_rate, config.lora_r) == ("name", rate, 3)
    given = TrainConfig(learning_rate=0.1).of_base("name", model_type)
    assert given.learning_rate == 0.1


def test_a_base_with_a_stem_takes_the_learning_rate_of_the_embedded_one(data_dir, tmp_path):
    base, output = write_tiny_base(tmp_path / "base", stem=True), tmp_path / "out"
    finetune.train(data_dir, output_dir=output, base=base, max_steps=1, **SMALL)
    record = json.loads((output / adapter_files.BASE).read_text())["training"]
    assert record["learning_rate"] == 1e-3
    # Nothing of this machine is published.
    assert not {"data_dir", "output_dir", "overwrite"} & record.keys()


def test_the_demo_says_what_five_pairs_teach_and_what_they_do_not(
    data_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(finetune, "RUNS_DIR", tmp_path / "runs")
    finetune.demo_train(str(data_dir), base=str(write_tiny_base(tmp_path / "base", stem=True)))
    printed = capsys.readouterr().out
    assert printed.count(", expected ") == 5
    assert re.search(r"\d+% of the 5 pairs by heart\n\d+% of 100 other pairs", printed)


def test_the_demo_learns_train_demo_where_it_is_there(data_dir, monkeypatch):
    asked = []

    def train(data_dir, split, *args, **kwargs):
        asked.append(split)
        raise InputError("enough")

    monkeypatch.setattr(finetune, "train", train)
    for name in (None, "sample"):
        with pytest.raises(InputError, match="enough"):
            finetune.demo_train(str(data_dir), name)
    (data_dir / "train_demo").mkdir()
    (data_dir / "train_demo" / "0_qa_pairs.json").write_text("[]")
    with pytest.raises(InputError, match="enough"):
        finetune.demo_train(str(data_dir))
    assert asked == ["train", "sample", "train_demo"]


def test_trackers_are_accelerates_own():
    from homework.training.step import check_trackers

    assert check_trackers(TrainConfig().report_to) == ["tensorboard"]
    assert check_trackers(TrainConfig(report_to="none").report_to) == []
    for name in ("tensorbord", 7):
        with pytest.raises(InputError, match=f"--report_to: no tracker '{name}'"):
            check_trackers(TrainConfig(report_to=[name]).report_to)


def test_a_broken_image_is_one_line_from_worker_processes_too(base, data_dir, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    for image in (folder / "train").glob("*_im.jpg"):
        image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut short or damaged") as caught:
        finetune.train(
            str(folder), output_dir=str(tmp_path / "out"), base=str(base), num_workers=1, **SMALL
        )
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_resume_after_a_kill_continues_the_same_curve(base, data_dir, tmp_path, capsys):
    """SIGKILL in mid-run; the same command again ends with the undisturbed run's losses."""
    options = {"base": base, "max_steps": 30, "save_steps": 10, "num_train_epochs": 99, **SMALL}

    def losses(output):
        history = json.loads((output / "trainer_state.json").read_text())["log_history"]
        return {record["step"]: record["loss"] for record in history if "loss" in record}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finetune.train(data_dir, output_dir=whole, **options)
    command = [sys.executable, "-m", "homework.finetune", "train", f"--data_dir={data_dir}"]
    flags = [f"--{name}={value}" for name, value in {**options, "output_dir": killed}.items()]
    process = subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(killed.glob("checkpoint-*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / adapter_files.WEIGHTS).exists()
    capsys.readouterr()
    finetune.train(data_dir, output_dir=killed, **options)
    assert "continues from" in capsys.readouterr().out
    assert losses(killed) == pytest.approx(losses(whole), rel=1e-5)
    assert len(losses(whole)) == 4


def test_how_long_grading_takes_here_is_said():
    assert finetune._grading(5.2) == "grading 128 questions takes about 5 s on this machine"
    assert finetune._grading(580).endswith(
        "about 9.7 min on this machine, and the grader stops at 60 s without --time_limit 720"
    )


def test_a_slow_machine_is_not_silent_before_the_first_step(options, monkeypatch, capsys):
    monkeypatch.setattr(distributed, "EVERY", 0.1)

    def slow(function):
        return lambda *args, **kwargs: time.sleep(0.25) or function(*args, **kwargs)

    monkeypatch.setattr(vlm, "load_model", slow(vlm.load_model))
    monkeypatch.setattr(run, "base_fingerprint", slow(run.base_fingerprint))
    monkeypatch.setattr(FineTuning, "prepare", slow(FineTuning.prepare))
    monkeypatch.setattr(Loop, "_resume", slow(Loop._resume))
    finetune.train(**options)
    said = capsys.readouterr().out
    for what in ("loads the base", "looks at the base and the pairs", "tries an image", "begins"):
        assert re.search(rf"^{what}, \d s so far$", said, re.MULTILINE)
