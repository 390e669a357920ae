"""Answering from shared prefixes: the same answers and scores as the plain model, one at a time."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import score, write_tiny_base

from homework.base_vlm import BaseVLM, load
from homework.common.errors import InputError
from homework.labels import questions
from homework.model import generation, prefix_cache

ASKED = [
    questions.EGO,
    questions.TRACK,
    questions.WHERE.format("sara_the_racer"),
    questions.LEFT_OR_RIGHT.format("tux"),
    questions.HOW_MANY.format("to the left of"),
]
CANDIDATES = ["1", "tux", "sara_the_racer", "front and left", "gran_paradiso_island"]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 255, (100, 150, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def asked(images) -> list[tuple[str, str]]:
    """Each image with each question, in no order."""
    pairs = [(path, question) for path in images for question in ASKED]
    return random.Random(0).sample(pairs, len(pairs))


@pytest.fixture(
    scope="module",
    params=["SmolVLM", "SmolVLM2", pytest.param("shipped", marks=pytest.mark.slow)],
)
def vlm(request, tmp_path_factory) -> BaseVLM:
    """Models in float64, in which no sum's order can change an answer."""
    if request.param == "shipped":  # with its adapter, as the base alone answers nothing
        vlm = load("vlm_model", verbose=False)
    else:
        folder = tmp_path_factory.mktemp("tiny")
        vlm = BaseVLM(write_tiny_base(folder, second=request.param == "SmolVLM2"), verbose=False)
    vlm.model.double()
    vlm.dtype = torch.float32  # no autocast
    return vlm


def plainly(vlm: BaseVLM, path: str, ids: list[int]) -> torch.Tensor:
    """Scores over the vocabulary after each token of prefix and `ids`: no cache, no mask."""
    image = vlm.inputs.resize(Image.open(path))
    pixels = vlm.inputs.pixel_values([image]).double()
    whole = torch.tensor([vlm.inputs.prefix_ids + ids])
    with torch.no_grad():
        return vlm.model(pixel_values=pixels, input_ids=whole).logits[0]


def one_at_a_time(vlm: BaseVLM, path: str, question: str) -> str:
    ids = vlm.inputs.question_ids(question)
    answer: list[int] = []
    while len(answer) < generation.MAX_NEW_TOKENS:
        token = int(plainly(vlm, path, ids + answer)[-1].argmax())
        if token == vlm.inputs.end_id:
            break
        answer.append(token)
    return vlm.processor.tokenizer.decode(answer, skip_special_tokens=True).strip()


def test_answers_are_those_of_plain_greedy_generation(vlm, asked, monkeypatch):
    expected = [one_at_a_time(vlm, path, question) for path, question in asked]
    assert len(set(expected)) > 2
    for rows, images in ((128, 64), (4, 2), (1, 1)):
        monkeypatch.setattr(prefix_cache, "ROWS", rows)
        monkeypatch.setattr(prefix_cache, "IMAGES", images)
        assert vlm.answer(*zip(*asked, strict=True)) == expected


def test_scores_are_those_of_the_plain_forward_pass(vlm, asked, monkeypatch):
    monkeypatch.setattr(prefix_cache, "ROWS", 7)
    some = [CANDIDATES[: 1 + index % 5] for index in range(len(asked))]
    some[3] = []
    scores = score(vlm, *zip(*asked, strict=True), some)
    assert [len(row) for row in scores] == [len(row) for row in some]
    for (path, question), candidates, row in zip(asked[:6], some, scores, strict=False):
        for candidate, found in zip(candidates, row, strict=True):
            ids, answer = vlm.inputs.question_ids(question), vlm.inputs.answer_ids(candidate)
            logits = plainly(vlm, path, ids + answer)[-len(answer) - 1 : -1]
            each = logits.log_softmax(-1)[torch.arange(len(answer)), answer]
            assert found == pytest.approx(each.sum().item(), rel=1e-6)


def test_more_answers_than_one_are_drawn_and_come_in_order(vlm, asked):
    torch.manual_seed(0)
    paths, texts = zip(*asked, strict=True)
    drawn = vlm.batched_generate(paths, texts, num_return_sequences=3, temperature=1.5)
    assert [len(answers) for answers in drawn] == [3] * len(asked)
    assert any(len(set(answers)) > 1 for answers in drawn)
    cold = vlm.batched_generate(paths, texts, num_return_sequences=2, temperature=1e-6)
    assert [answers[0] for answers in cold] == vlm.answer(paths, texts)


def test_lists_of_different_lengths_are_refused(vlm, images):
    with pytest.raises(InputError, match="3 images but 2 questions"):
        vlm.answer(images, ASKED[:2])
    assert vlm.answer([], []) == []


@pytest.mark.slow
def test_answers_go_on_in_smaller_batches_where_memory_runs_out(vlm, asked, monkeypatch):
    paths, texts = zip(*asked, strict=True)
    expected = vlm.answer(paths, texts)
    forward, tried = prefix_cache.forward, []

    def limited(vlm, cache, embeddings, *args):
        tried.append(len(embeddings))
        if len(embeddings) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(vlm, cache, embeddings, *args)

    monkeypatch.setattr(prefix_cache, "forward", limited)
    monkeypatch.setattr(vlm, "smaller", 1)
    most = 4
    assert vlm.answer(paths, texts) == expected
    assert max(tried) > most and vlm.smaller == 32
    most = 0
    with pytest.raises(InputError, match="not enough memory on cpu for one question"):
        vlm.answer(paths, texts)


def test_a_cpu_takes_few_large_images_together():
    """Of SmolVLM and of the embedded base, in patches; memory that ran out makes them fewer."""

    def together(device: str, patches: int, smaller: int) -> int:
        loaded = SimpleNamespace(device=device, patches=patches, smaller=smaller)
        return prefix_cache.images_together(loaded)

    assert [together("cpu", *each) for each in ((1024, 1), (144, 1), (144, 2))] == [8, 64, 32]
    assert [together("cuda", *each) for each in ((1024, 1), (1024, 4), (1024, 128))] == [64, 16, 1]
