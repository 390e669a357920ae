"""The pairs of a scene: the five kinds, their words and what must hold for any scene."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from strategies import scenes

from homework.labels.questions import (
    COUNT,
    EGO,
    KARTS,
    KINDS,
    LEFT_OR_RIGHT,
    TRACK,
    TRACKS,
    WHERE,
    extracted,
    form_of,
    kart_in,
    kind_of,
    pairs,
    possible_answers,
)
from homework.labels.scene import Scene, mirrored, view_scene

GOLDEN = Path(__file__).parent / "golden"
LR = LEFT_OR_RIGHT.format("tux")
SWAPPED = {"left": "right", "right": "left"}


def swap(text: str) -> str:
    return " ".join(SWAPPED.get(word, word) for word in text.split(" "))


def test_pairs_are_those_of_the_golden_file():
    info = json.loads((GOLDEN / "00000_info.json").read_text())
    expected = json.loads((GOLDEN / "pairs.json").read_text())
    made = [[list(pair) for pair in pairs(view_scene(info, view))] for view in range(3)]
    assert made == expected


def test_no_kart_leaves_the_track_question_only():
    assert list(pairs(Scene("abyss", (), None))) == [(TRACK, "abyss")]


@given(scenes())
def test_a_mirror_swaps_left_and_right_and_nothing_else(scene):
    mirror = mirrored(scene)
    ego = scene.ego
    # At a tie the rule decides, not the image: a kart level with the ego, or two karts that
    # are equally near the centre, the first of which is the ego.
    assume(all(kart is ego or kart.center[0] != ego.center[0] for kart in scene.karts))
    assume(ego is None or scene.karts.index(ego) == mirror.karts.index(mirror.ego))
    swapped = set()
    for question, answer in pairs(scene):
        # "Is X to the left or right ..." asks the same in the mirror; a region does not.
        asked = swap(question) if kind_of(question) == "region" else question
        swapped.add((asked, swap(answer)))
    assert set(pairs(mirror)) == swapped


@given(scenes())
def test_counts_add_up(scene):
    answers = dict(pairs(scene))
    count = int(answers.get(COUNT, 0))
    assert count == len(scene.karts)

    def karts_in(region: str) -> int:
        return int(answers.get(f"How many karts are {region} the ego car?", 0))

    others = max(count - 1, 0)
    assert karts_in("to the left of") + karts_in("to the right of") == others
    assert karts_in("in front of") + karts_in("behind") == others
    sides = [answer for question, answer in pairs(scene) if question.startswith("Is ")]
    assert sides.count("left") == karts_in("to the left of")
    assert sides.count("front") == karts_in("in front of")
    assert len(sides) == 2 * others


@given(scenes())
def test_every_kart_named_is_in_the_scene(scene):
    names = {kart.name for kart in scene.karts}
    for question, answer in pairs(scene):
        assert kart_in(question) in names | {None}
        assert question != EGO or answer in names
        assert scene.ego is None or kart_in(question) != scene.ego.name


@given(scenes())
def test_answers_come_from_a_closed_vocabulary(scene):
    numbers = {str(number) for number in range(1, 10)}
    sides = {"left", "right", "front", "back"}
    places = {f"{depth} and {side}" for depth in ("front", "back") for side in ("left", "right")}
    vocabulary = {
        "ego": set(KARTS),
        "count": numbers,
        "track": set(TRACKS),
        "relative position": sides | places,
        "region": numbers,
    }
    for question, answer in pairs(scene):
        assert answer in vocabulary[kind_of(question)]


@given(scenes())
def test_every_answer_of_the_rule_is_among_the_possible_answers(scene):
    for question, answer in pairs(scene):
        known = possible_answers(question)
        assert answer in known
        assert len(set(known)) == len(known) > 1


def test_a_free_question_has_no_possible_answers():
    assert possible_answers("Who wins?") == ()


def test_the_form_of_a_question_replaces_the_kart_only():
    assert form_of("Is left to the left or right of the ego car?") == (
        "Is {} to the left or right of the ego car?"
    )
    assert form_of(EGO) == EGO


@given(scenes())
def test_kind_of_is_the_kind_that_asked(scene):
    for name, kind in KINDS.items():
        assert all(kind_of(question) == name for question, _ in kind.pairs(scene))


def test_other_questions_are_of_no_kind():
    assert kind_of("What colour is tux?") == "other"
    assert kind_of("Is tux to the left or right of the ego car? ") == "other"


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        (LR, "The answer is left.", "left"),
        (LR, "It is on the **left-hand** side", "left"),
        (LR, "LEFT", "left"),
        (LR, "Is tux to the left or right of the ego car? Right.", "right"),
        (LR, "is tux to the LEFT or right of the ego car: left", "left"),
        (LR, "to the left, then right", None),
        (LR, "It is not left.", None),
        (LR, "It isn't on the left", None),
        (LR, "leftover", None),
        (LR, "top-left", None),
        (LR, "behind", None),
        (LR, "", None),
        (WHERE.format("tux"), "Tux is front and  left of the ego", "front and left"),
        (WHERE.format("tux"), "front", None),
        (COUNT, "There are 3 karts.", "3"),
        (COUNT, "10", "10"),
        (COUNT, "13 karts", None),
        (COUNT, "3.5", None),
        (COUNT, "1,000", None),
        (COUNT, "-1", None),
        (COUNT, "3 or 4", None),
        (COUNT, "3, I count 3", "3"),
        (COUNT, "0", None),
        (EGO, "The ego car is Sara the Racer", "sara_the_racer"),
        (EGO, "It is sara_the_wizard, I think", "sara_the_wizard"),
        (EGO, "sara", None),
        (TRACK, "This is the Black Forest track", "black_forest"),
        ("Who are you?", "The answer is left.", None),
    ],
)
def test_an_answer_is_taken_out_of_a_sentence_where_there_is_only_one(question, text, expected):
    assert extracted(text, question) == (text if expected is None else expected)


@given(scenes())
def test_extraction_leaves_exact_answers_alone(scene):
    for question, answer in pairs(scene):
        for text in (
            answer,
            f"{answer}.",
            answer.upper(),
            f"The answer is {answer}.",
            f" {answer}\n",
        ):
            assert extracted(text, question) == answer
