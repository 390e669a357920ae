"""Answering: order, one look at each image, and checkpoints of the real model's form."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import make_split
from PIL import Image
from tiny import write_tiny_base

from benchmarks.smolvlm_shape import smolvlm_config, write_smolvlm_shape
from homework import base_vlm, finetune
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.evaluation import report
from homework.labels import questions
from homework.model import prefix_cache

ASKED = [questions.EGO, questions.TRACK, questions.LEFT_OR_RIGHT.format("tux"), questions.COUNT]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, colour in enumerate(["red", "green", "blue"]):
        paths.append(str(folder / f"{number}.png"))
        Image.new("RGB", (150, 100), colour).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return BaseVLM(write_tiny_base(tmp_path_factory.mktemp("tiny")), verbose=False)


def test_answers_come_in_the_order_asked_and_as_if_asked_alone(vlm, images):
    asked = [(path, question) for path in images for question in ASKED]
    asked = asked[::2] + asked[1::2]
    together = vlm.answer([path for path, _ in asked], [question for _, question in asked])
    assert together == [vlm.generate(path, question) for path, question in asked]
    assert len(set(together)) > 1


def test_each_image_is_opened_and_encoded_once(vlm, images, monkeypatch):
    opened, encoded = [], []
    monkeypatch.setattr(
        prefix_cache, "open_image", lambda path: opened.append(path) or Image.open(path)
    )
    encode = vlm.model.model.connector.forward
    monkeypatch.setattr(
        vlm.model.model.connector,
        "forward",
        lambda patches: encoded.append(len(patches)) or encode(patches),
    )
    vlm.answer(images * 4, ASKED * 3)
    assert sorted(opened) == sorted(images)
    assert sum(encoded) == len(images)


def test_several_answers_are_drawn_at_random(vlm, images):
    torch.manual_seed(0)
    drawn = vlm.batched_generate(images[:2], ASKED[:2], num_return_sequences=3, temperature=1.5)
    assert [len(texts) for texts in drawn] == [3, 3]
    assert len(set(drawn[0])) > 1
    with pytest.raises(InputError, match="temperature"):
        vlm.batched_generate(images[:1], ASKED[:1], num_return_sequences=2)


def test_no_questions_give_no_answers(vlm, images):
    assert vlm.answer([], []) == []
    with pytest.raises(InputError, match="1 images but 2 questions"):
        vlm.answer(images[:1], ASKED[:2])


def test_a_question_of_absurd_length_is_refused_before_a_model_sees_it(vlm, images):
    with pytest.raises(InputError, match=r"'xxx.* has 2,001 characters; give at most 2,000"):
        vlm.answer(images[:1], ["x" * 2001])
    with pytest.raises(InputError, match="has 100,000 characters"):
        base_vlm.ask(images[0], "x" * 100_000, base="/no/such/base")
    assert isinstance(vlm.generate(images[0], "x" * 2000), str)


def test_a_broken_image_is_named(vlm, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        vlm.generate(broken, questions.EGO)


@pytest.mark.parametrize("second", [False, True], ids=["SmolVLM", "SmolVLM2"])
def test_the_256m_shape_has_the_published_number_of_parameters(second):
    """256.5 million, counted without memory for them."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        config = AutoConfig.for_model(**smolvlm_config(second=second))
        model = AutoModelForImageTextToText.from_config(config)
    assert type(model).__name__ == config.architectures[0]
    assert sum(p.numel() for p in model.parameters()) == 256_484_928


@pytest.mark.parametrize(
    "name", [pytest.param("SmolVLM-256M", marks=pytest.mark.slow), "a small SmolVLM2"]
)
def test_both_classes_are_trained_tested_and_asked_through_the_same_commands(
    tmp_path, images, capsys, request, name
):
    """SmolVLM-256M's published configuration and file layout, a layer a side; and SmolVLM2's."""
    if name == "SmolVLM-256M":
        base = request.getfixturevalue("smolvlm_shape")
    else:
        base = write_tiny_base(tmp_path / "base", second=True)
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    pairs = []
    for path in images:
        shutil.copy(path, folder)
        image_file = f"train/{Path(path).name}"
        pairs += [{"question": q, "answer": "1", "image_file": image_file} for q in ASKED]
    (folder / "all_qa_pairs.json").write_text(json.dumps(pairs))
    data_dir, output = str(tmp_path / "data"), str(tmp_path / "adapter")

    finetune.train(
        data_dir, output_dir=output, base=str(base), max_steps=1, per_device_train_batch_size=1
    )
    finetune.test(output, "train", data_dir, max_samples=3)
    base_vlm.ask(images[0], questions.EGO, checkpoint=output)
    assert re.search(r"^all +3 ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("second", [False, True], ids=["SmolVLM", "SmolVLM2"])
def test_the_published_files_are_read(tmp_path, request, second):
    if second:
        base = write_smolvlm_shape(tmp_path / "base", 1, 1, second=True)
    else:
        base = request.getfixturevalue("smolvlm_shape")
    vlm = BaseVLM(base, verbose=False)
    image_token = vlm.network.config.image_token_id
    assert vlm.inputs.prefix_ids.count(image_token) == 64
    assert vlm.inputs.side == 512
    assert vlm.inputs.end_id == 49279
    assert vlm.processor.image_processor.do_image_splitting is False


def test_the_bases_own_commands_run(tmp_path, images, capsys):
    base = str(write_tiny_base(tmp_path / "base"))
    folder = tmp_path / "data" / "valid"
    folder.mkdir(parents=True)
    shutil.copy(images[0], folder / "0.png")
    pairs = [{"question": q, "answer": "1", "image_file": "valid/0.png"} for q in ASKED]
    (folder / "all_qa_pairs.json").write_text(json.dumps(pairs))
    base_vlm.benchmark_base(base, "valid", str(tmp_path / "data"))
    base_vlm.test(base, "valid", str(tmp_path / "data"))
    printed = capsys.readouterr().out
    assert "these questions themselves" in printed
    assert "4 questions in" in printed


def test_ask_explains_into_an_image_with_question_answer_and_legend(
    vlm, images, tmp_path, capsys, monkeypatch
):
    captions = []
    draw_caption = report.with_caption
    monkeypatch.setattr(
        report, "with_caption", lambda *args: captions.append(args[1:]) or draw_caption(*args)
    )
    target, base = tmp_path / "out.png", str(vlm.folder)
    base_vlm.ask(images[0], questions.TRACK, base=base, explain=str(target))
    with Image.open(target) as drawn:
        assert drawn.width == 900 and drawn.height > 600  # the text is below the image
    lines, legend = captions.pop()
    assert lines[0] == f"Question: {questions.TRACK}" and lines[1].startswith("Answer: ")
    assert [*legend.values()] == ["where the model looks"]
    assert "HiResCAM" in capsys.readouterr().out

    labelled = str(make_split(tmp_path / "valid", frames=2, seed=0) / "00001_03_im.jpg")
    base_vlm.ask(labelled, questions.EGO, base=base, explain=str(target))
    lines, legend = captions.pop()
    assert "(the labels say: " in lines[1] and "ego kart" in legend.values()
    base_vlm.ask(labelled, "Is it raining?", base=base, explain=str(target))
    assert captions.pop()[0][-1] == report.CAVEAT
    with pytest.raises(InputError, match=r"not a \.png"):
        base_vlm.ask(images[0], questions.TRACK, base=base, explain=str(tmp_path / "out.gif"))


def test_the_tokenizer_encodes_any_text(vlm):
    tokenizer = vlm.processor.tokenizer
    for text in ("Ünïcödé 🐧 — 漢字", "tabs\tand\nlines", "sara_the_racer", "\u0000\u007f"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'PIL', 'matplotlib', 'fire'}"
    code = f"import sys, homework; assert not {heavy} & set(sys.modules), sys.modules"
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.slow
def test_a_submission_answers_without_what_only_training_needs(labelled):
    """Importing matplotlib or tensorboard would take seconds of the course's minute."""
    code = """
import sys
sys.modules |= dict.fromkeys(("matplotlib", "tensorboard", "orjson", "torchvision"))
from homework import load_vlm
from homework.data import VQADataset, benchmark
assert benchmark(load_vlm(), VQADataset("train", sys.argv[1], 8)).samples
"""
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code, str(labelled)], cwd=root, check=True)
