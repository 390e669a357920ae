"""The pairs of a scene: the five kinds, their words and what must hold for any scene."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import assume, given
from strategies import scenes

from homework.labels.questions import COUNT, EGO, KINDS, TRACK, kart_in, kind_of, layout, pairs
from homework.labels.scene import Kart, Scene, mirrored, view_scene
from homework.labels.vocabulary import KARTS, TRACKS

GOLDEN = Path(__file__).parent / "golden"
SWAPPED = {"left": "right", "right": "left"}


def swap(text: str) -> str:
    return " ".join(SWAPPED.get(word, word) for word in text.split(" "))


def test_golden_file():
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
    # At a tie the rule decides, not the picture: a kart level with the ego, or two karts that
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
def test_kind_of_is_the_kind_that_asked(scene):
    for kind, questions in KINDS.items():
        assert all(kind_of(question) == kind for question, _ in questions(scene))


def test_other_questions_are_of_no_kind():
    assert kind_of("What colour is tux?") == "other"
    assert kind_of("Is tux to the left or right of the ego car? ") == "other"


@given(scenes())
def test_the_layout_is_all_that_pairs_depend_on(scene):
    track, ego_name, others = layout(scene)
    karts = [
        Kart(name, (60 if left else 80, 30 if front else 60, 90 if left else 110, 80))
        for name, left, front in others
    ]
    ego = Kart(ego_name, (60, 45, 90, 75)) if ego_name else None
    plain = Scene(track, (*karts, *([ego] if ego else [])), ego)
    assert layout(plain) == layout(scene)
    assert list(pairs(plain)) == list(pairs(scene))
