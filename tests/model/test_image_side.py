"""Images of another side than the base's own: trained, recorded, and answered alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plain import plain_answers
from tiny import score
from trainings import SAMPLE, SMALL, stop_at
from transformers import AutoModelForImageTextToText, AutoProcessor

from homework import base_vlm, finetune
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.common.files import read_json
from homework.data import VQADataset
from homework.labels import questions
from homework.model import adapter_files, packing
from homework.model.compat import dtype_option
from homework.model.processor import Settings

IMAGES = [str(SAMPLE / name) for name in ("00000_00_im.jpg", "00001_03_im.jpg")]
PAIRS = [
    [(questions.EGO, "sara_the_racer"), (questions.WHERE.format("konqi"), "front and left")],
    [(questions.TRACK, "gran_paradiso_island")],
]


def test_which_sides_there_are():
    """SmolVLM-256M, SmolVLM-2.2B (patches of 14) and the embedded base's shape."""
    own = [Settings(side, 1, [], [], tokens) for side, tokens in ((512, 64), (384, 81), (144, 144))]
    assert [*own[0].sides] == [64, 128, 192, 256, 320, 384, 448, 512]
    assert [*own[1].sides] == [128, 256, 384]
    assert own[2].sides.step == 12
    assert [own[0].at(side).image_tokens for side in (256, 384, 512)] == [16, 36, 64]
    assert own[1].at(256).image_tokens == (256 // 14 // 3) ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape, side", [("base", 72), ("smolvlm_shape", 256), ("smolvlm_shape", 384)]
)
def test_training_answering_and_plain_transformers_agree(shape, side, request):
    """The loss of each pair: packed, from the cache of prefixes, and in the library alone."""
    folder = request.getfixturevalue(shape)
    vlm = BaseVLM(folder, verbose=False)
    vlm.use_image_side(side, "")
    vlm.dtype = torch.float32
    tokens = vlm.inputs.settings.image_tokens
    assert tokens == vlm.processor.image_seq_len < 64
    edge = {"longest_edge": side}
    processor = AutoProcessor.from_pretrained(
        folder, size=edge, max_image_size=edge, do_image_splitting=False, image_seq_len=tokens
    )
    plain = AutoModelForImageTextToText.from_pretrained(folder, **dtype_option(torch.float32))
    squares, expected, scored = [], [], []
    for path, pairs in zip(IMAGES, PAIRS, strict=True):
        with Image.open(path) as file:
            image = file.convert("RGB")
        squares.append(vlm.inputs.resize(image))
        for question, answer in pairs:
            text = f"{vlm.format_prompt(question)} {answer}<end_of_utterance>"
            batch = processor(text=text, images=[[image]], return_tensors="pt")
            ours = vlm.inputs.view_sequence([(question, answer)])
            assert batch["input_ids"][0].tolist() == ours.input_ids
            pixels = vlm.inputs.pixel_values([squares[-1]])
            if side > 150:  # the library resizes twice, here with no loss: two grey levels apart
                torch.testing.assert_close(batch["pixel_values"], pixels, rtol=0, atol=4.01 / 255)
            batch["pixel_values"] = pixels
            with torch.no_grad():
                logits = plain(**batch).logits[0, :-1].log_softmax(-1)
            told = [(place, label) for place, label in enumerate(ours.labels[1:]) if label >= 0]
            expected.append(sum(logits[place, label].item() for place, label in told))
            scored += score(vlm, [path], [question], [[answer]])[0]
    row = packing.pack(
        [vlm.inputs.view_sequence(each) for each in PAIRS], len(vlm.inputs.prefix_ids)
    )
    with torch.no_grad():
        seen = packing.image_tokens(
            vlm.network, vlm.inputs.normalise(torch.from_numpy(np.stack(squares)))
        )
        logits = packing.answer_logits(vlm.network, row, seen).log_softmax(-1)
    each = logits.gather(1, row.answers[:, None])[:, 0]
    trained = torch.zeros(len(expected)).index_add_(0, row.pairs, each).tolist()
    assert trained == pytest.approx(expected, rel=1e-5)
    assert scored == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def small(tmp_path_factory, base, sample_data) -> Path:
    """An adapter that was trained on images of half the base's side."""
    output = tmp_path_factory.mktemp("small")
    options = {"output_dir": output, "base": base, "max_steps": 4, "image_side": 72}
    finetune.train(sample_data, **options, **SMALL)
    return output


@pytest.mark.slow
def test_an_adapter_is_asked_with_its_own_side_merged_too(small, base, sample_data, tmp_path):
    assert read_json(small / adapter_files.BASE)["training"]["image_side"] == 72
    dataset = VQADataset("train", sample_data, 20)
    asked = [(item["image_path"], item["question"]) for item in dataset]
    paths, texts = zip(*asked, strict=True)
    finetune.merge(str(small), tmp_path / "merged")
    found = []
    for vlm in (
        base_vlm.load(small),
        base_vlm.load(small, merged=False),
        BaseVLM(tmp_path / "merged"),
    ):
        assert (vlm.inputs.side, vlm.inputs.settings.image_tokens) == (72, 36)
        vlm.dtype = torch.float32
        found.append(vlm.answer(paths, texts))
    assert found[0] == found[1] == found[2] and len(set(found[0])) > 1
    with base_vlm.load(small).base_alone() as alone:
        assert alone.inputs.side == 72
    assert plain_answers([(tmp_path / "merged", asked)], tmp_path) == [found[0]]


def test_the_bases_own_side_is_not_recorded(base, sample_data, tmp_path):
    options = {"output_dir": tmp_path / "out", "base": base, "image_side": 144}
    finetune.train(sample_data, **options, max_steps=1, **SMALL)
    assert "image_side" not in read_json(tmp_path / "out" / adapter_files.BASE)["training"]


def test_a_run_of_another_side_is_another_run(unfinished, options):
    with pytest.raises(InputError, match=r"another run: image_side None \(now 72\)"):
        finetune.train(**options, image_side=72)
    finetune.train(**options, image_side=144)  # the base's own side: the same run


def test_a_checkpoint_of_a_side_continues_with_it_alone(options, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 2, KeyboardInterrupt)
        finetune.train(**options, image_side=72)
    with pytest.raises(InputError, match=r"another run: image_side 72 \(now None\)"):
        finetune.train(**options)
    finetune.train(**options, image_side=72)


def test_a_side_that_the_base_does_not_take_is_one_line(base, small, sample_data, tmp_path):
    options = {"data_dir": sample_data, "output_dir": tmp_path / "out"}
    with pytest.raises(InputError, match=r"--image_side: .* of 12, 24, .*, 144 pixels.*, not 100"):
        finetune.train(**options, base=base, image_side=100)
    said = "--image_side: embedded_base takes images of 144 pixels a side, not 72"
    with pytest.raises(InputError, match=said):
        finetune.train(**options, base="embedded_base", image_side=72)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    for wrong in (100, 72.0, True, "72", [72], 10**30):
        folder = shutil.copytree(small, tmp_path / "wrong", dirs_exist_ok=True)
        record = read_json(folder / adapter_files.BASE)
        record["training"]["image_side"] = wrong
        (folder / adapter_files.BASE).write_text(json.dumps(record))
        with pytest.raises(InputError, match=r"base\.json: image_side: .* not "):
            base_vlm.load(folder)
