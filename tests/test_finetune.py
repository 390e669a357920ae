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
import torch
from safetensors.torch import load_file
from tiny import write_tiny_base
from transformers.models.idefics3.modeling_idefics3 import Idefics3Model

from homework import base_vlm, finetune
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.model import adapter, embedded, packing
from homework.training.batches import Collator, ViewDataset, split_views
from homework.training.recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"
SMALL = {"per_device_train_batch_size": 4, "lora_r": 4, "lora_alpha": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data folder whose `train` holds four of the sample's frames, with pairs."""
    from homework.generate_qa import generate

    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    for info in sorted(SAMPLE.glob("*_info.json"))[:4]:
        for file in SAMPLE.glob(f"{info.name.split('_')[0]}_*"):
            shutil.copy(file, folder / "train")
    generate(str(folder / "train"), num_workers=1)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, base, data_dir):
    output = tmp_path_factory.mktemp("trained")
    finetune.train(str(data_dir), output_dir=str(output), base=str(base), max_steps=4, **SMALL)
    return output


def test_training_writes_a_checkpoint_curves_and_events(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= names
    assert not [name for name in names if name.startswith("checkpoint-")]
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "runs").glob("*/events.out.tfevents*"))


def test_plain_peft_loads_the_same_adapter(trained, base):
    from peft import PeftModel
    from transformers import Idefics3ForConditionalGeneration

    ours = base_vlm.load(trained, verbose=False)
    plain = PeftModel.from_pretrained(
        Idefics3ForConditionalGeneration.from_pretrained(base, dtype=torch.float32), trained
    )
    ids = ours.inputs.view_sequence([("What track is this?", "abyss")]).input_ids
    sequence = {"input_ids": torch.tensor([ids])}
    pixels = torch.rand(1, 1, 3, 144, 144)
    before = BaseVLM(base, verbose=False).model(pixel_values=pixels, **sequence).logits
    after = ours.model(pixel_values=pixels, **sequence).logits
    # Ours is merged into the base's weights, whose sums are rounded otherwise.
    unmerged = plain.eval()(pixel_values=pixels, **sequence).logits
    torch.testing.assert_close(unmerged, after, rtol=1e-4, atol=1e-4)
    assert (before - after).abs().max() > 1e-3


def test_every_lora_module_gets_a_gradient(base, data_dir):
    """Vision tower, connector and text model alike: both matrices, after one step."""
    vlm = BaseVLM(base, verbose=False)
    model = adapter.add_lora(vlm, 4, 8, 0.0).train()
    views, _ = split_views(VQADataset("train", data_dir), 0)
    dataset = ViewDataset(views[:4], vlm.inputs)
    [batch] = Collator(vlm.inputs, vlm.patches)([dataset[index] for index in range(4)])["passes"]
    pixels = vlm.inputs.normalise(batch.seen)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    # B starts at zero, so that A has a gradient only from the second step on.
    for _ in range(2):
        optimizer.zero_grad()
        scores = packing.scores(model, batch.row, pixel_values=pixels)
        packing.weighted_loss(scores, batch.row).backward()
        optimizer.step()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    for part in ("vision_model", "connector", "text_model"):
        assert any(part in name for name in trained)
    assert not [name for name, gradient in trained.items() if not gradient.abs().sum() > 0]


def test_the_text_side_alone_learns_from_image_tokens_kept_on_disk(
    base, data_dir, tmp_path, monkeypatch, capsys
):
    """The same losses whether they are made in this run or found; the adapter is read back."""
    options = {"base": str(base), "train_vision": False, "max_steps": 4, **SMALL}
    made, losses = [], []
    look = Idefics3Model.get_image_features
    monkeypatch.setattr(
        Idefics3Model, "get_image_features", lambda *a, **k: made.append(1) or look(*a, **k)
    )
    for run in ("made", "found"):
        output = tmp_path / run
        finetune.train(str(data_dir), output_dir=str(output), **options)
        history = json.loads((output / "trainer_state.json").read_text())["log_history"]
        losses.append([record["loss"] for record in history if "loss" in record])
        assert bool(made) == (run == "made")
        made.clear()
    assert losses[0] == losses[1]
    names = load_file(output / adapter.WEIGHTS)
    assert names and all("text_model" in name for name in names)
    capsys.readouterr()
    finetune.test(str(output), "train", str(data_dir), max_samples=4)
    assert "questions/s" in capsys.readouterr().out


def test_a_damaged_or_foreign_checkpoint_is_refused(trained, base, tmp_path):
    from safetensors.torch import save_file

    def broken(change) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(trained, folder)
        change(folder)
        return folder

    def rewrite(folder, change):
        weights = load_file(folder / adapter.WEIGHTS)
        change(weights)
        save_file(weights, folder / adapter.WEIGHTS)

    def record(folder, **fields):
        path = folder / adapter.BASE
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    other = write_tiny_base(tmp_path / "other", seed=1)
    wrong = {
        "missing": lambda f: rewrite(f, lambda w: w.pop(next(iter(w)))),
        "unexpected": lambda f: rewrite(f, lambda w: w.update(extra=torch.zeros(2))),
        "misshapen": lambda f: rewrite(f, lambda w: w.update({next(iter(w)): torch.zeros(2)})),
        "damaged": lambda f: (f / adapter.WEIGHTS).write_bytes(b"nothing"),
        "another": lambda f: record(f, base=str(other)),
        "not a whole": lambda f: (f / adapter.CONFIG).unlink(),
    }
    for words, change in wrong.items():
        with pytest.raises(InputError, match=words) as caught:
            base_vlm.load(broken(change), verbose=False)
        assert "\n" not in str(caught.value)


def test_validation_frames_are_refused_by_name_by_prefix_and_by_content(data_dir, base, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    output = str(tmp_path / "out")
    with pytest.raises(InputError, match="validation frames are never trained on"):
        finetune.train(str(folder), "valid_grader", output, str(base))

    shutil.copytree(folder / "train", folder / "valid")
    with pytest.raises(InputError, match="the same picture as"):
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
        {"weighting": "karts"},
        {"train_vision": "no"},
        {"recipe": "quick"},
    ],
)
def test_options_are_checked_before_anything_is_loaded(option, data_dir):
    with pytest.raises(InputError, match=next(iter(option))):
        finetune.train(str(data_dir), base="nowhere", **option)


@pytest.mark.parametrize(
    ("base", "recipe", "name"),
    [
        ("embedded_base", None, "embedded"),
        (str(embedded.EMBEDDED_BASE), None, "embedded"),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", None, "smolvlm"),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", "embedded", "embedded"),
    ],
)
def test_options_not_given_are_the_recipes(base, recipe, name, data_dir, monkeypatch):
    """What is given stays; the rest comes from the base's recipe, or the one that is named."""
    seen = []
    monkeypatch.setattr(
        "homework.training.run.fit",
        lambda dataset, output, options, *rest: seen.append(options),
    )
    finetune.train(
        str(data_dir), base=base, recipe=recipe, lora_r=3, output_dir=str(data_dir / "out")
    )
    (options,) = seen
    assert options["lora_r"] == 3 and "recipe" not in options
    assert options | {"lora_r": 0} == options | RECIPES[name] | {"lora_r": 0}
    assert None not in [options[option] for option in RECIPES[name]]


def test_a_base_with_a_stem_has_a_recipe_of_its_own(data_dir, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "homework.training.run.fit", lambda dataset, output, options, *rest: seen.append(options)
    )
    base = write_tiny_base(tmp_path / "base", stem=True)
    finetune.train(str(data_dir), base=str(base), output_dir=str(tmp_path / "out"))
    assert seen[0] == seen[0] | RECIPES["stem"]


def test_the_demo_says_what_five_pairs_teach_and_what_they_do_not(
    data_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(finetune, "RUNS_DIR", tmp_path / "runs")
    finetune.demo_train(str(data_dir), base=str(write_tiny_base(tmp_path / "base", stem=True)))
    printed = capsys.readouterr().out
    assert printed.count(", expected ") == 5
    assert re.search(r"\d+% of the 5 pairs by heart\n\d+% of 100 other pairs", printed)


def test_trackers_are_the_trainers_own():
    from homework.training.run import check_trackers

    assert check_trackers("tensorboard") == check_trackers(("tensorboard",)) == ["tensorboard"]
    assert check_trackers("none") == []
    for name in ("tensorbord", 7):
        with pytest.raises(InputError, match=f"--report_to: no tracker '{name}'"):
            check_trackers([name])


def test_a_broken_picture_is_one_line_from_worker_processes_too(base, data_dir, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    for picture in (folder / "train").glob("*_im.jpg"):
        picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut short or damaged") as caught:
        finetune.train(
            str(folder), output_dir=str(tmp_path / "out"), base=str(base), num_workers=1, **SMALL
        )
    assert "\n" not in str(caught.value)


def test_resume_after_a_kill_continues_the_same_curve(base, data_dir, tmp_path):
    """SIGKILL in mid-run; the same command again ends with the undisturbed run's losses."""
    options = {"max_steps": 60, "save_steps": 20, "num_train_epochs": 99, **SMALL}
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "homework.finetune", "train", f"--base={base}", *flags]
    command.append(f"--data_dir={data_dir}")

    def losses(output):
        history = json.loads((output / "trainer_state.json").read_text())["log_history"]
        return {record["step"]: record["loss"] for record in history if "loss" in record}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, f"--output_dir={whole}"], cwd=ROOT, check=True, capture_output=True)

    command.append(f"--output_dir={killed}")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(killed.glob("checkpoint-*/complete.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / adapter.WEIGHTS).exists()
    again = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "goes on from" in again.stdout
    assert losses(killed) == pytest.approx(losses(whole), rel=1e-5)
    assert len(losses(whole)) == 7
