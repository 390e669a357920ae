"""Sentences of pre-training: true, of every kind, and never a question of the five kinds."""

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import scenes

from homework.labels import questions
from homework.labels.questions import KARTS
from homework.labels.scene import Kart, make_scene
from lab.pretraining import descriptions

SCENE = make_scene(
    "abyss",
    (
        Kart("tux", (60, 40, 100, 70)),
        Kart("gnu", (0, 0, 15, 15)),
        Kart("kiki", (120, 10, 140, 30)),
        Kart("nolok", (110, 80, 140, 99)),
    ),
)
_FORMS = (
    questions.EGO,
    questions.COUNT,
    questions.TRACK,
    questions.LEFT_OR_RIGHT,
    questions.FRONT_OR_BEHIND,
    questions.WHERE,
    questions.HOW_MANY,
)


def drawn(scene, seeds=40):
    rngs = map(random.Random, range(seeds))
    return [part for rng in rngs for part in descriptions.statements(scene, rng)]


@settings(max_examples=100, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_no_sentence_is_a_question(scene, rng):
    """Not to the rule that knows them, not by its mark, its words or its beginning."""
    for part in descriptions.statements(scene, rng):
        text = f"{part.prompt} {part.target}".strip()
        assert questions.kind_of(text) == questions.kind_of(part.prompt) == "other"
        assert "?" not in text
        assert not re.match(r"(what|how|where|who|which|is|are|does|do|tell|name)\b", text.lower())
        for form in _FORMS:
            # No five words of a question in a row, whatever kart or region it asks about.
            words = form.lower().rstrip("?").split()
            for start in range(len(words) - 4):
                run = " ".join(words[start : start + 5])
                assert "{}" in run or run not in text.lower(), (run, text)


def test_what_is_told_is_true():
    told = {(part.prompt, part.target) for part in drawn(SCENE, 200)}
    assert ("The ego car:", "tux") in told
    assert ("Karts in the scenario:", "4") in told
    assert ("The track:", "abyss") in told
    assert ("Karts to the left of the ego:", "1") in told
    assert ("Karts in front of the ego:", "2") in told
    assert ("Names in front of the ego:", "gnu, kiki") in told
    assert ("gnu keeps to the", "left") in told
    assert ("Place of nolok:", "back and right") in told
    assert ("From left to right:", "gnu, tux, nolok, kiki") in told
    whole = "abyss, 4 karts: gnu front and left; tux as ego; nolok back and right; "
    assert ("", f"{whole}kiki front and right") in told
    seen = {(given, told) for given, told in told if given.startswith("Here ")}
    assert ("Here tux is", "seen") in seen and ("Here xue is", "missing") in seen


def test_every_kind_is_drawn_and_an_empty_image_has_some():
    assert {part.kind for part in drawn(SCENE)} == set(descriptions.KINDS)
    empty = {part.kind for part in drawn(make_scene("abyss", ()))}
    assert empty == {"track", "count", "seen", "list", "whole"}


def test_the_language_has_every_word():
    words = {word.strip(",;:") for word in " ".join(descriptions.language()).split()}
    names = {*KARTS, "abyss"}
    for part in drawn(SCENE, 200):
        for word in f"{part.prompt} {part.target}".split():
            bare = word.strip(",;:")
            assert bare.isdigit() or bare in names or bare in words, word
