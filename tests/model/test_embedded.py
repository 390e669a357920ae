"""The embedded base."""

from homework.labels import questions
from homework.labels.scene import Kart, make_scene
from homework.labels.vocabulary import KARTS, TRACKS
from homework.model import embedded


def test_names_and_phrases_are_one_token_each():
    """So that a name can be looked for by its embedding, and questions stay short."""
    tokenizer = embedded.build_tokenizer()
    for name in (*KARTS, *TRACKS, *questions.SIDES, *questions.DEPTHS, *questions.PLACES):
        assert len(tokenizer(f" {name}")["input_ids"]) == 1, name
    names = ("tux", "gnu", "kiki")
    karts = tuple(Kart(name, (10 * i, 10, 10 * i + 9, 30)) for i, name in enumerate(names))
    scene = make_scene("abyss", karts)
    lengths = [len(tokenizer(question)["input_ids"]) for question, _ in questions.pairs(scene)]
    assert max(lengths) == 3
    text = "Ein Käfer? <image> über den Wolken."
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text  # anything else is spelled in bytes
