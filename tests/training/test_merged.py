"""A base and its adapter as one model: the same answers, from transformers alone too."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from plain import plain_answers
from tiny import write_tiny_base
from trainings import SAMPLE, SMALL

from homework import finetune
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.generate_qa import generate

SAMPLE_VALID = SAMPLE.with_name("sample_valid")
KINDS = ("plain", "second", "stem")


@pytest.fixture(scope="module")
def all_merged(trained, sample_data, tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """The folder of an adapter and that of the merged model; of SmolVLM, SmolVLM2, with a stem."""
    made = {}
    for kind in KINDS:
        adapter = trained
        if kind != "plain":
            base = write_tiny_base(tmp_path_factory.mktemp("base"), **{kind: True})
            adapter = tmp_path_factory.mktemp("adapter")
            options = {"output_dir": str(adapter), "base": str(base), "max_steps": 4}
            finetune.train(str(sample_data), **options, **SMALL)
        made[kind] = adapter, tmp_path_factory.mktemp("merged") / "model"
        finetune.merge(*map(str, made[kind]))
    return made


@pytest.fixture(params=KINDS)
def merged(request, all_merged) -> tuple[Path, Path]:
    return all_merged[request.param]


@pytest.fixture(scope="module")
def asked(sample_data):
    dataset = VQADataset("train", sample_data, 20)
    return [(item["image_path"], item["question"]) for item in dataset]


def answers(vlm: BaseVLM, asked) -> list[str]:
    vlm.dtype = torch.float32  # the precision of the other side, whatever this machine has
    return vlm.answer([path for path, _ in asked], [question for _, question in asked])


def test_the_merged_model_answers_as_the_adapter_does(merged, asked):
    adapter, folder = merged
    expected = answers(finetune.load(str(adapter)), asked)
    assert answers(BaseVLM(folder, verbose=False), asked) == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_transformers_alone_gives_the_same_answers(all_merged, asked, tmp_path):
    """20 of each kind of base; and 200 of the shipped adapter."""
    jobs = [(adapter, folder, asked) for adapter, folder in all_merged.values()]
    shutil.copytree(SAMPLE_VALID, tmp_path / "data" / "sample_valid")
    generate(str(tmp_path / "data" / "sample_valid"), num_workers=1)
    dataset = VQADataset("sample_valid", tmp_path / "data", 200)
    finetune.merge(finetune.MODEL_NAME, str(tmp_path / "merged"))
    shipped = [(item["image_path"], item["question"]) for item in dataset]
    jobs.append((finetune.MODEL_NAME, tmp_path / "merged", shipped))
    expected = [answers(finetune.load(str(adapter)), asked) for adapter, _, asked in jobs]
    assert len(expected[-1]) == 200 and len(set(expected[-1])) > 20
    pairs = [(folder, asked) for _, folder, asked in jobs]
    assert plain_answers(pairs, tmp_path) == expected


def test_it_has_the_layout_of_the_hub(merged):
    _, folder = merged
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    stem = json.loads((folder / "config.json").read_text())["model_type"] == "idefics3_stem"
    assert ("stem.py" in names) == stem
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "transformers" and "lora" not in card.data.tags
    assert "pipeline(" in card.text


def test_an_output_in_use_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match=r"--output: .* is there already; give a new folder"):
            finetune.merge("nowhere", str(output))
    with pytest.raises(InputError, match="no such checkpoint"):
        finetune.merge("nowhere", str(tmp_path / "new"))


def test_a_stopped_merge_leaves_nothing(trained, tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("homework.model.processor.write", stopped)
    with pytest.raises(KeyboardInterrupt):
        finetune.merge(str(trained), str(tmp_path / "new"))
    assert not list(tmp_path.iterdir())
