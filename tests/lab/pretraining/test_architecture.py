"""The embedded base."""

from homework.labels import questions
from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import Kart, make_scene
from lab.pretraining import architecture


def test_names_and_words_are_one_token_each():
    """So that a name can be looked for by its embedding, and words mean the same everywhere."""
    tokenizer = architecture.build_tokenizer()
    for name in (*KARTS, *TRACKS, *questions.SIDES, *questions.DEPTHS):
        assert len(tokenizer(f" {name}")["input_ids"]) == 1, name
    names = ("tux", "gnu", "kiki")
    karts = tuple(Kart(name, (10 * i, 10, 10 * i + 9, 30)) for i, name in enumerate(names))
    scene = make_scene("abyss", karts)
    for question, _ in questions.pairs(scene):
        assert len(tokenizer(question)["input_ids"]) == len(question.split()) + 1, question
    text = "Ein Käfer? <image> über den Wolken."
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text  # anything else is spelled in bytes
