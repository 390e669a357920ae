"""The configuration: options from files, and variants of LoRA that train as they should."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from trainings import SMALL
from transformers import Idefics3ForConditionalGeneration

from homework import base_vlm, finetune
from homework.common import cli
from homework.common.errors import InputError
from homework.common.files import read_json
from homework.common.options import takes
from homework.model import adapter_files
from homework.training import adapters
from homework.training.config import TrainConfig


def given(*args, **kwargs) -> TrainConfig:
    """What a command of these options gets."""
    found = []
    takes(TrainConfig)(found.append)(*args, **kwargs)
    return found[0]


def test_a_file_gives_options_and_those_beside_it_count(tmp_path):
    options = {"learning_rate": 1e-3, "lora_r": 8, "report_to": ["wandb", "trackio"], "base": "b"}
    (tmp_path / "run.json").write_text(json.dumps(options, indent="\t"))
    lines = "# a comment\nlearning_rate: 1e-3\nlora_r: 8\nreport_to: wandb,trackio\nbase: b\n"
    (tmp_path / "run.yaml").write_text(lines)
    configs = []
    for name in ("run.json", "run.yaml"):
        config = given("data", lora_r=4, config=tmp_path / name)
        assert (config.data_dir, config.lora_r, config.learning_rate) == (Path("data"), 4, 0.001)
        assert (config.report_to, config.base) == (("wandb", "trackio"), "b")
        configs.append(config.to_dict(1))
    assert configs[0] == configs[1]


def test_a_file_gives_options_on_the_command_line_too(tmp_path, monkeypatch):
    """One that is given beside it counts, also where it is the default."""
    file = tmp_path / "run.yaml"
    file.write_text("train_dataset_name: other\nlora_r: 4\nmax_steps: 9\ntrain_vision: false\n")
    found = []
    command = takes(TrainConfig)(found.append)
    monkeypatch.setattr(
        sys, "argv", ["train", "data", "--config", str(file), "--lora_r=16", "--overwrite"]
    )
    cli.run(command)
    [config] = found
    assert (config.data_dir, config.train_dataset_name) == (Path("data"), "other")
    assert (config.lora_r, config.max_steps, config.seed) == (16, 9, 0)
    assert (config.train_vision, config.overwrite) == (False, True)


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("run.yaml", "lora: 3", "no option 'lora'; the nearest is lora_"),
        ("run.yaml", "config: x.yaml", "no option 'config'"),
        ("run.yaml", "- 3", "give options, one a line, such as max_steps: 100"),
        ("run.yaml", "", "give options, one a line"),
        ("run.yaml", "a: [", "not valid yaml"),
        ("run.yaml", "!!python/object/apply:os.system [ls]", "not valid yaml"),
        ("run.json", "{'a': 1}", "not valid json"),
        ("run.json", "\xff", "not valid json"),
        ("run.yaml", "lora_r: 0", "--lora_r: give a whole number of 1 or more, not 0"),
        ("run.yaml", "seed: null", "--seed: give a whole number of 0 or more, not None"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(name, text, said, tmp_path):
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        given(config=file)
    assert str(caught.value).startswith(f"--config: {file}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"--config: .*none\.yaml: cannot be read"):
        given(config=tmp_path / "none.yaml")


def train(output: Path, base: Path, sample_data: Path, **options) -> dict[str, torch.Tensor]:
    """The adapter that three steps make."""
    options = {"max_steps": 3, "report_to": "none", **SMALL, **options}
    finetune.train(sample_data, output_dir=output, base=base, **options)
    return load_file(output / adapter_files.WEIGHTS)


@pytest.mark.parametrize("variant", ["use_rslora", "use_dora"])
def test_variants_of_lora_are_learned_and_read_again(variant, base, sample_data, tmp_path):
    weights = train(tmp_path / "out", base, sample_data, **{variant: True})
    assert json.loads((tmp_path / "out" / adapter_files.CONFIG).read_text())[variant] is True
    assert read_json(tmp_path / "out" / adapter_files.BASE)["training"][variant] is True
    if variant == "use_dora":
        assert any("magnitude" in name for name in weights)
    assert all(weight.abs().max() > 0 for weight in weights.values())
    ours = base_vlm.load(tmp_path / "out", verbose=False)
    ids = ours.inputs.view_sequence([("What track is this?", "abyss")]).input_ids
    given = {"input_ids": torch.tensor([ids]), "pixel_values": torch.rand(1, 1, 3, 144, 144)}
    network = Idefics3ForConditionalGeneration.from_pretrained(base)
    plain = PeftModel.from_pretrained(network, tmp_path / "out").eval()
    expected = plain(**given).logits
    torch.testing.assert_close(ours.model(**given).logits, expected, rtol=1e-4, atol=1e-4)
    with plain.disable_adapter():
        assert (plain(**given).logits - expected).abs().max() > 1e-3


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradient_checkpointing_gives_the_same_adapter(dropout, base, sample_data, tmp_path):
    options = {"lora_dropout": dropout, "gradient_checkpointing": False}
    kept = train(tmp_path / "kept", base, sample_data, **options)
    options["gradient_checkpointing"] = True
    again = train(tmp_path / "again", base, sample_data, **options)
    for name, weight in kept.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-5, atol=1e-6)
        assert weight.abs().max() > 0


def test_the_vision_tower_has_a_learning_rate_of_its_own(base, sample_data, tmp_path):
    """So small that it learns nothing, while the text model learns as without."""
    same = train(tmp_path / "same", base, sample_data, vision_learning_rate=5e-4)
    plain = train(tmp_path / "plain", base, sample_data)
    assert all(torch.equal(same[name], weight) for name, weight in plain.items())
    apart = train(tmp_path / "apart", base, sample_data, vision_learning_rate=1e-30)
    changed = {name for name in apart if "lora_B" in name and apart[name].abs().max() > 1e-9}
    assert changed == {name for name in apart if "lora_B" in name and "text_model" in name}
    with pytest.raises(InputError, match="--vision_learning_rate: leave it out"):
        TrainConfig(vision_learning_rate=1e-4, train_vision=False)


class Hub:
    """The part of the hub that `push` uses; it remembers what is uploaded."""

    def __init__(self) -> None:
        self.calls: list[dict] = []

    def whoami(self) -> None:
        pass

    def create_repo(self, repository: str, **options) -> str:
        self.calls.append({"repository": repository, **options})
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, **options) -> None:
        self.calls.append(options)


def test_an_adapter_goes_to_a_private_repository(base, sample_data, tmp_path, monkeypatch, capsys):
    fake = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    train(tmp_path / "out", base, sample_data, push_to_hub="me/adapter", max_steps=1)
    made, uploaded = fake.calls
    assert made == {"repository": "me/adapter", "private": True, "exist_ok": True}
    assert uploaded["folder_path"] == tmp_path / "out"
    assert uploaded["allow_patterns"] == [*adapter_files.FILES, adapter_files.CARD]
    assert "uploaded to https://huggingface.co/me/adapter" in capsys.readouterr().out


def test_a_hub_that_refuses_is_one_line(tmp_path, monkeypatch):
    fake = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    with pytest.raises(InputError, match=r"^--push_to_hub: .*Repo id"):
        adapters.check_hub("no such name")
    with monkeypatch.context() as patch:
        patch.setattr(fake, "whoami", lambda: Path("x" * 250).read_text())
        with pytest.raises(InputError, match=r"log in with: hf auth login$"):
            adapters.check_hub("me/adapter")
    monkeypatch.setattr(fake, "upload_folder", lambda **options: 1 / 0)
    with pytest.raises(InputError, match=r"the adapter is in .*out; to upload it later: hf upload"):
        adapters.push_to_hub(tmp_path / "out", "me/adapter")
