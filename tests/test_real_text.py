"""SmolVLM-256M-Instruct's real tokenizer and text model: see real_text.py.

Skipped where its packages are not installed; about two minutes on one core.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import real_text
import torch
from helpers import clone
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from plain import plain_answers
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks import floor
from homework import base_vlm, finetune
from homework.base_vlm import BaseVLM
from homework.data import VQADataset
from homework.frames.split import read_info
from homework.labels import questions
from homework.labels.questions import pairs
from homework.labels.scene import view_scene
from homework.model import packing
from homework.model.compat import dtype_option
from homework.model.generation import MAX_NEW_TOKENS
from homework.model.inputs import IGNORED

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"
SQUARE = {"do_image_splitting": False, "size": {"longest_edge": 512}}
IMAGES = [SAMPLE / "00000_00_im.jpg", SAMPLE / "00001_03_im.jpg"]
PAIRS = [
    [(questions.EGO, "sara_the_racer"), (questions.WHERE.format("konqi"), "front and left")],
    [(questions.TRACK, "gran_paradiso_island"), (questions.COUNT, "10")],
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A hub cache that holds nothing but the base."""
    cache = tmp_path_factory.mktemp("hub")
    real_text.write_snapshot(cache)
    return cache


@pytest.fixture(scope="module")
def folder(hub) -> Path:
    [found] = hub.glob("*/snapshots/*")
    return found


@pytest.fixture
def cached(folder, monkeypatch) -> None:
    """The base is found by its name, as in the user's cache."""
    found = {real_text.NAME: folder}.get
    monkeypatch.setattr("homework.model.loading._in_hub_cache", found)


@pytest.fixture(scope="module")
def vlm(folder) -> BaseVLM:
    return BaseVLM(folder, verbose=False)


def plain_base(folder: Path):
    return AutoModelForImageTextToText.from_pretrained(folder, **dtype_option(torch.float32)).eval()


def plain_inputs(processor, picture, question: str, behind: str = ""):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    message = {"role": "user", "content": content}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True)
    image = Image.open(picture).convert("RGB")
    return processor(text=prompt + behind, images=[[image]], return_tensors="pt")


def test_every_pair_has_the_token_ids_of_plain_transformers(vlm, folder):
    """All pairs of the shipped frames; and what `floor` counts with is their mean."""
    tokenizer = AutoProcessor.from_pretrained(folder, **SQUARE).tokenizer
    counts = []
    infos = map(read_info, sorted(SAMPLE.glob("*_info.json")))
    found = [
        pair
        for info in infos
        for view in range(len(info["detections"]))
        for pair in pairs(view_scene(info, view))
    ]
    for question, answer in found:
        given, told = vlm.inputs.question_ids(question), vlm.inputs.answer_ids(answer)
        text = f"{question}<end_of_utterance>\nAssistant: {answer}<end_of_utterance>"
        assert given + told == tokenizer(text)["input_ids"]
        assert told[-1] == 49279
        assert tokenizer.decode(told) == f" {answer}<end_of_utterance>"
        counts.append((len(given) + len(told), len(told)))
    branch, answer = torch.tensor(counts).float().mean(0).tolist()
    assert branch == pytest.approx(floor.SMOLVLM.branch, abs=0.2)
    assert answer == pytest.approx(floor.SMOLVLM.answer, abs=0.2)


def test_inputs_labels_and_losses_are_those_of_plain_transformers(vlm, folder):
    """Two images in one packed row, against one pair at a time in the library's own loss."""
    processor, plain = AutoProcessor.from_pretrained(folder, **SQUARE), plain_base(folder)
    squares, expected, lengths = [], [], []
    for picture, asked in zip(IMAGES, PAIRS, strict=True):
        square = vlm.inputs.resize(Image.open(picture).convert("RGB"))
        squares.append(square)
        for question, answer in asked:
            batch = plain_inputs(processor, picture, question, f" {answer}<end_of_utterance>")
            ours = vlm.inputs.view_sequence([(question, answer)])
            assert batch["input_ids"][0].tolist() == ours.input_ids
            pixels = vlm.inputs.pixel_values([square])
            # The library resizes twice, first to 512x342 pixels: one grey level apart at most.
            torch.testing.assert_close(batch["pixel_values"], pixels, rtol=0, atol=2.01 / 255)
            told = len(processor.tokenizer(f" {answer}<end_of_utterance>")["input_ids"])
            labels = batch["input_ids"].clone()
            labels[:, :-told] = IGNORED
            assert labels[0].tolist() == ours.labels
            batch["pixel_values"] = pixels
            with torch.no_grad():
                expected.append(plain(**batch, labels=labels).loss.item() * told)
            lengths.append(told)
    row = packing.pack(
        [vlm.inputs.view_sequence(asked) for asked in PAIRS], len(vlm.inputs.prefix_ids)
    )
    with torch.no_grad():
        seen = packing.image_tokens(vlm.network, vlm.inputs.pixel_values(squares))
        loss = packing.weighted_loss(packing.answer_logits(vlm.network, row, seen), row).item()
    assert lengths == [8, 4, 9, 4]
    assert loss == pytest.approx(sum(expected), rel=1e-5)


def test_an_adapter_of_plain_peft_answers_as_it_does_there(folder, cached, tmp_path, capsys):
    """As the course's starter trains one: tiles of the image, no space before the answer."""
    processor, picture = AutoProcessor.from_pretrained(folder), IMAGES[0]
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=8, lora_alpha=32)
    plain = get_peft_model(plain_base(folder), config)
    for name, value in plain.named_parameters():
        if "lora_B" in name:
            value.data.normal_(0, 1e-3)
    plain.save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    named = json.loads(file.read_text()) | {"base_model_name_or_path": real_text.NAME}
    file.write_text(json.dumps(named))
    plain = PeftModel.from_pretrained(plain_base(folder), tmp_path).eval()
    vlm = base_vlm.load(tmp_path)
    assert "no space before the answer" in capsys.readouterr().out
    vlm.dtype = torch.float32
    batch = plain_inputs(processor, picture, questions.EGO)
    assert batch["pixel_values"].shape[1] == 13  # three rows of four tiles, and the whole
    tokens = plain.generate(
        **batch,
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=vlm.inputs.end_id,
        pad_token_id=vlm.inputs.pad_id,
    )[0, batch["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert vlm.generate(picture, questions.EGO) == expected != ""


@pytest.fixture(scope="module")
def run(hub, tmp_path_factory):
    """Runs a command in a copy of the package, with the base in a hub cache of its own."""
    place = clone(tmp_path_factory.mktemp("job"), "grader", "bundle.py")
    for name, split in (("sample", "train"), ("sample_valid", "valid")):
        (place / "data" / name).rename(place / "data" / split)
    own = {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(place / "cache")}

    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=place,
            env=os.environ | own,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command.place = place
    return command


@pytest.fixture(scope="module")
def trained(run) -> Path:
    """The adapter of ten steps, each on one image."""
    for split in ("train", "valid"):
        run("-m", "homework.generate_qa", "generate", "--data_dir", f"data/{split}")
    run("-m", "homework.generate_qa", "balance", "--per_kind", "1")
    steps = ("--max_steps", "10", "--per_device_train_batch_size", "1", "--max_samples", "60")
    assert real_text.NAME in run("-m", "homework.finetune", "train", *steps)
    return run.place / "homework" / "vlm_model"


def test_the_main_job_from_info_files_to_points(run, trained):
    history = json.loads((trained / "trainer_state.json").read_text())["log_history"]
    losses = [record["loss"] for record in history if "loss" in record]
    assert losses[-1] < 0.8 * losses[0]
    table = run("-m", "homework.finetune", "test", "homework/vlm_model")
    assert re.search(r"^all +5 ", table, re.MULTILINE)
    run("bundle.py", "homework", "my_id")
    graded = run("-m", "grader", "my_id.zip", "--log_path", "log.txt")
    result = json.loads((run.place / "log.txt").read_text().splitlines()[-1])
    assert "not run" not in {case["status"] for case in result["cases"]}, graded
    assert len(result["samples"]) == 5 and not result["denied"]
    assert 20e6 < (run.place / "my_id.zip").stat().st_size < 50e6


def test_merged_it_answers_in_transformers_alone(run, trained, cached, tmp_path):
    finetune.merge(str(trained), str(tmp_path / "merged"))
    dataset = VQADataset("valid_grader", run.place / "data", 2)
    asked = [(item["image_path"], item["question"]) for item in dataset]
    vlm = finetune.load(str(trained))
    vlm.dtype = torch.float32
    expected = vlm.answer(*zip(*asked, strict=True))
    assert plain_answers([(tmp_path / "merged", asked)], tmp_path) == [expected]
    assert all(expected)
