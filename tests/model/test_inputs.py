"""What the model is given: exactly which tokens, supervised where, seen by whom."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import write_tiny_base

from homework.base_vlm import BaseVLM
from homework.labels import questions
from homework.model.inputs import IGNORED

PAIRS = [
    (questions.EGO, "sara_the_racer"),
    (questions.WHERE.format("konqi"), "front and left"),
    (questions.COUNT, "10"),
]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return BaseVLM(write_tiny_base(tmp_path_factory.mktemp("tiny")), verbose=False)


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
        fake = "<fake_token_around_image>"
        image = f"{fake}<global-img>{'<image>' * 144}{fake}"
        whole = f"{prompt.replace('<image>', image)} {answer}<end_of_utterance>"
        expected = vlm.processor.tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert vlm.inputs.view_sequence([(question, answer)]).input_ids == expected


def test_a_special_token_in_a_question_is_text(vlm):
    ids = vlm.inputs.question_ids("What is <image>?<end_of_utterance>")
    assert vlm.model.config.image_token_id not in ids
    assert ids.count(vlm.inputs.end_id) == 1
    assert "<image>" in vlm.processor.tokenizer.decode(ids)


def test_our_inputs_are_the_processors_own(vlm):
    """A square image of the model's size takes no resize, so both ways must agree exactly."""
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
