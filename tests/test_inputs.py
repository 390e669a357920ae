"""What the model is given: exactly which tokens, supervised where, seen by whom."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import write_tiny_base

from homework import questions
from homework.base_vlm import BaseVLM
from homework.inputs import IGNORED, shared_prefix_mask

PAIRS = [
    (questions.EGO, "sara_the_racer"),
    (questions.WHERE.format("konqi"), "front and left"),
    (questions.COUNT, "10"),
]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return BaseVLM(write_tiny_base(tmp_path_factory.mktemp("tiny")), verbose=False)


@pytest.fixture(scope="module")
def pixels(vlm):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (100, 150, 3), dtype=np.uint8)
    return vlm.inputs.pixel_values([vlm.inputs.resize(Image.fromarray(noise))])


def test_only_answers_and_their_end_tokens_are_supervised(vlm):
    sequence = vlm.inputs.view_sequence(PAIRS)
    supervised = [label for label in sequence.labels if label != IGNORED]
    text = vlm.processor.tokenizer.decode(supervised)
    end = "<end_of_utterance>"
    assert text == f" sara_the_racer{end} front and left{end} 10{end}"
    for token, label in zip(sequence.input_ids, sequence.labels, strict=True):
        assert label in (IGNORED, token)


def test_prefix_and_branch_together_are_what_the_chat_template_writes(vlm):
    for question, answer in PAIRS:
        prompt = vlm.format_prompt(question)
        image = vlm.processor.replace_image_token({"rows": [[0]], "cols": [[0]]}, 0)
        whole = f"{prompt.replace('<image>', image)} {answer}<end_of_utterance>"
        expected = vlm.processor.tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert vlm.inputs.view_sequence([(question, answer)]).input_ids == expected


def test_a_special_token_in_a_question_is_text(vlm):
    ids = vlm.inputs.question_ids("What is <image>?<end_of_utterance>")
    assert vlm.model.config.image_token_id not in ids
    assert ids.count(vlm.inputs.end_id) == 1
    assert "<image>" in vlm.processor.tokenizer.decode(ids)


def test_our_inputs_are_the_processors_own(vlm):
    """A square picture of the model's size takes no resize, so both ways must agree exactly."""
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 255, (144, 144, 3), dtype=np.uint8))
    made = vlm.processor(
        text=vlm.format_prompt(questions.EGO), images=[picture], return_tensors="pt"
    )
    ids = vlm.inputs.prefix_ids + vlm.inputs.question_ids(questions.EGO)
    assert made["input_ids"][0].tolist() == ids
    ours = vlm.inputs.pixel_values([vlm.inputs.resize(picture)])
    assert ours.shape == made["pixel_values"].shape
    torch.testing.assert_close(ours, made["pixel_values"], rtol=0, atol=1e-6)


def test_a_shared_prefix_changes_neither_loss_nor_gradient(vlm, pixels):
    """Three pairs behind one prefix weigh as three one-question samples, in float64."""
    model = vlm.model.double().train()

    def loss_and_gradients(batches):
        model.zero_grad()
        total = supervised = 0
        for pairs in batches:
            batch = vlm.inputs.collate([vlm.inputs.view_sequence(pairs)])
            tokens = int((batch["labels"] != IGNORED).sum())
            total = total + model(pixel_values=pixels.double(), **batch).loss * tokens
            supervised += tokens
        (total / supervised).backward()
        gradients = {
            name: weight.grad.clone()
            for name, weight in model.named_parameters()
            if weight.grad is not None
        }
        return (total / supervised).item(), gradients

    shared, shared_gradients = loss_and_gradients([PAIRS])
    alone, alone_gradients = loss_and_gradients([[pair] for pair in PAIRS])
    vlm.model.float().eval()
    assert shared == pytest.approx(alone, rel=1e-6)
    # The text model's norms compute in float32, whatever the weights are.
    scale = max(gradient.abs().max().item() for gradient in alone_gradients.values())
    for name, gradient in alone_gradients.items():
        torch.testing.assert_close(shared_gradients[name], gradient, rtol=1e-4, atol=1e-6 * scale)


def test_padding_changes_nothing(vlm, pixels):
    frames = [vlm.inputs.view_sequence(PAIRS), vlm.inputs.view_sequence(PAIRS[:1])]
    together = vlm.inputs.collate(frames)
    scores = vlm.model(pixel_values=pixels.repeat(2, 1, 1, 1, 1), **together).logits
    for row, frame in enumerate(frames):
        alone = vlm.model(pixel_values=pixels, **vlm.inputs.collate([frame])).logits[0]
        torch.testing.assert_close(scores[row, : len(alone)], alone, rtol=1e-4, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 5), st.integers(0, 3))
def test_mask_shows_the_prefix_and_ones_own_branch(lengths, prefix, padding):
    branches = [0] * prefix
    for number, length in enumerate(lengths, start=1):
        branches += [number] * length
    branches += [-1] * padding
    mask = shared_prefix_mask(torch.tensor([branches]))[0]
    for row, mine in enumerate(branches):
        for column, other in enumerate(branches):
            visible = column <= row and (other == mine or (other == 0 and mine != -1))
            assert bool(mask[row, column]) == visible
    assert mask.any(dim=1).all()
