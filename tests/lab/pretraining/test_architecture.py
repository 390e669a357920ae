"""The embedded base: its words, and what pre-training adds to it and takes away again."""

import re

import pytest
import torch

from homework.labels import questions
from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import Kart, make_scene
from homework.model.loading import EMBEDDED_BASE, load_model
from homework.model.processor import read_tokenizer
from lab.pretraining import architecture, descriptions
from lab.pretraining.architecture import fold, normalise


def test_names_and_words_are_one_token_each():
    """So that a name can be looked for by its embedding, and words mean the same everywhere."""
    tokenizer = read_tokenizer(EMBEDDED_BASE)
    for name in (*KARTS, *TRACKS, *questions.SIDES, *questions.DEPTHS):
        assert len(tokenizer(f" {name}")["input_ids"]) == 1, name
    names = ("tux", "gnu", "kiki")
    karts = tuple(Kart(name, (10 * i, 10, 10 * i + 9, 30)) for i, name in enumerate(names))
    scene = make_scene("abyss", karts)
    for question, _ in questions.pairs(scene):
        assert len(tokenizer(question)["input_ids"]) == len(question.split()) + 1, question
    for word in {word for told in descriptions.language() for word in re.findall(r"\w+", told)}:
        assert len(tokenizer(f" {word}")["input_ids"]) == 1, word
    text = "Ein Käfer? <image> über den Wolken."
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text  # anything else is spelled in bytes


def test_new_weights_have_the_form_of_the_base_that_ships():
    fresh, shipped = architecture.build_model(0), load_model(EMBEDDED_BASE)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (fresh, shipped)]
    assert shapes[0] == shapes[1]
    assert all(weight.dtype == torch.float32 for weight in fresh.parameters())


@pytest.mark.slow
def test_compiled_parts_give_the_same_in_training_and_are_left_out_of_measuring(tiny_architecture):
    plain, fast = (architecture.build_model(0) for _ in range(2))
    for model in (plain, fast):
        normalise(model.stem)
    architecture.compile_tower(fast, "aot_eager")
    pixels = torch.rand(2, 3, 144, 144)
    for training in (True, False):
        results = []
        for model in (plain, fast):
            model.train(training).zero_grad()
            seen = model.model.vision_model(pixel_values=pixels).last_hidden_state
            seen.square().sum().backward()
            results.append((seen, model.stem.stages[0].enter.conv.weight.grad.clone()))
        torch.testing.assert_close(results[0], results[1])
    assert plain.state_dict().keys() == fast.state_dict().keys()
    torch._dynamo.reset()


def test_folding_changes_no_answer():
    """The same patches before and after, for one image as for many; no normalisation left."""
    stem = architecture.build_model(1).stem
    normalise(stem)
    for module in stem.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    pixels = torch.randn(4, 3, 72, 72)
    for _ in range(3):
        stem(pixels)  # running statistics of its own
    stem.eval()
    with torch.no_grad():
        before = stem(pixels)
        fold(stem)
        after = stem.train()(pixels)
        single = torch.cat([stem(image[None]) for image in pixels])
    assert not [part for part in stem.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(single, after, rtol=1e-3, atol=1e-3)
