"""The labelling rule: which karts a view shows, and which of them is the ego."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_infos, infos, scenes

from homework.labels.questions import KINDS, kind_of, pairs
from homework.labels.scene import (
    MIN_BOX_SIDE,
    AmbiguousView,
    Kart,
    is_front,
    is_left,
    make_scene,
    mirrored,
    view_scene,
)


def one_view(*rows, karts=("tux", "gnu", "nolok")):
    return {"track": "abyss", "karts": list(karts), "detections": [list(rows)]}


@pytest.mark.parametrize(
    ("x1", "x2", "kept"),
    [
        (0, 20, True),
        (0, 19, False),
        (3, 20, True),  # 17 wide in the frame, but 0 to 5 once truncated
        (1, 19, False),
        (4, 23, False),
        (4, 24, True),
    ],
)
def test_a_kart_counts_from_five_truncated_pixels_on(x1, x2, kept):
    across = view_scene(one_view([1, 0, x1, 100, x2, 200]), 0)
    along = view_scene(one_view([1, 0, 100, x1, 200, x2]), 0)
    assert bool(across.karts) is bool(along.karts) is kept


def test_boxes_are_scaled_and_truncated():
    scene = view_scene(one_view([1, 1, 249, 233, 353, 399]), 0)
    assert scene.karts == (Kart("gnu", (62, 58, 88, 99)),)
    assert scene.ego is scene.karts[0]


def test_only_class_1_is_a_kart():
    rows = [[kind, 0, 0, 0, 599, 399] for kind in (0, 2, 3, 4, 5, 6)]
    assert view_scene(one_view(*rows), 0) == ("abyss", (), None)


def test_the_ego_is_the_nearest_not_the_views_own_kart():
    far, near = [1, 0, 0, 0, 80, 80], [1, 2, 260, 160, 340, 240]
    assert view_scene(one_view(far, near), 0).ego.name == "nolok"


def test_a_tie_counts_as_left_and_as_behind():
    ego = Kart("tux", (70, 45, 80, 55))
    same = Kart("gnu", (60, 40, 90, 60))
    assert is_left(same, ego)
    assert not is_front(same, ego)


@given(infos())
def test_every_kart_is_large_enough_and_the_ego_is_nearest(info):
    scene = view_scene(info, 0)
    for kart in scene.karts:
        x1, y1, x2, y2 = kart.box
        assert x2 - x1 >= MIN_BOX_SIDE
        assert y2 - y1 >= MIN_BOX_SIDE
        assert kart.name in info["karts"]
    distances = [math.dist(kart.center, (75, 50)) for kart in scene.karts]
    if scene.karts:
        assert math.dist(scene.ego.center, (75, 50)) == min(distances)
    else:
        assert scene.ego is None


@given(infos())
def test_the_rule_word_by_word(info):
    kept = []
    for class_id, track_id, *corners in info["detections"][0]:
        x1, y1, x2, y2 = (
            math.trunc(corner * scale)
            for corner, scale in zip(corners, (150 / 600, 100 / 400) * 2, strict=True)
        )
        if class_id == 1 and x2 - x1 >= 5 and y2 - y1 >= 5:
            kept.append((info["karts"][track_id], (x1, y1, x2, y2)))
    assert view_scene(info, 0).karts == tuple(kept)


@given(infos())
def test_ids_may_be_whole_floats(info):
    floats = [[float(c), float(t), *map(float, box)] for c, t, *box in info["detections"][0]]
    assert view_scene(info | {"detections": [floats]}, 0) == view_scene(info, 0)


@given(scenes())
def test_a_mirror_of_a_mirror_is_the_scene(scene):
    assert mirrored(mirrored(scene)).karts == scene.karts
    assert make_scene(scene.track, scene.karts) == scene


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track": 7}, "'track'"),
        ({"karts": "tux"}, "'karts'"),
        ({"karts": ["tux", 3, "gnu"]}, "'karts': 3 is not a name"),
        ({"karts": ["tux", "gnu", "a b"]}, "'karts': 'a b' is not a name without spaces"),
        ({"karts": ["tux", "gnu", "a\u00a0b"]}, r"'karts': 'a\\xa0b' is not a name"),
        ({"karts": ["tux", "gnu", ""]}, "'karts': '' is not a name"),
        ({"karts": ["tux"]}, "'karts' has no name for track id 1"),
        ({"detections": []}, "'detections' has no view 0"),
        ({"detections": None}, "'detections' has no view 0"),
        ({"detections": ["text"]}, "'detections'"),
        ({"detections": [[[1, 1, 0, 0, 9]]]}, r"'detections', view 0: \[1, 1, 0, 0, 9\]"),
        ({"detections": [[[1, 1, 0, 0, "a", "b"]]]}, "'detections', view 0"),
        ({"detections": [[[1, 1, 0, 0, 1e400, 9]]]}, "'detections', view 0"),
        ({"detections": [[7]]}, "'detections', view 0: 7"),
        ({"detections": [[[]]]}, "'detections', view 0"),
        ({"detections": [[[True, 1, 0, 0, 99, 99]]]}, r"view 0: \[True, 1, 0, 0, 99, 99\] is not"),
        ({"detections": [[[1.5, 1, 0, 0, 99, 99]]]}, r"view 0: \[1\.5, 1, 0, 0, 99, 99\] is not"),
        ({"detections": [[[2.5, 1, 0, 0, 99, 99]]]}, r"view 0: \[2\.5, 1, 0, 0, 99, 99\] is not"),
        ({"detections": [[["1", 1, 0, 0, 99, 99]]]}, r"view 0: \['1', 1, 0, 0, 99, 99\] is not"),
        ({"detections": [[[math.nan, 1, 0, 0, 99, 99]]]}, r"view 0: \[nan, 1, 0, 0, 99, 99\] is"),
        ({"detections": [[[math.inf, 1, 0, 0, 99, 99]]]}, r"view 0: \[inf, 1, 0, 0, 99, 99\] is"),
        ({"detections": [[[1, 1.5, 0, 0, 99, 99]]]}, "no name for track id 1.5"),
        ({"detections": [[[1, math.nan, 0, 0, 99, 99]]]}, "no name for track id nan"),
        ({"detections": [[[1, math.inf, 0, 0, 99, 99]]]}, "no name for track id inf"),
        ({"detections": [[[1, "1", 0, 0, 99, 99]]]}, "no name for track id '1'"),
        ({"detections": [[[1, -1.0, 0, 0, 99, 99]]]}, "no name for track id -1.0"),
        ({"detections": [[[1, 1, math.nan, 0, 99, 99]]]}, r"view 0: \[1, 1, nan, 0, 99, 99\] is"),
        ({"detections": [[[1, True, 0, 0, 99, 99]]]}, r"view 0: \[1, True, 0, 0, 99, 99\] is not"),
        ({"detections": [[[1, 1, 0, 0, 99, True]]]}, r"view 0: \[1, 1, 0, 0, 99, True\] is not"),
        ({"detections": [[[1, 1, 99, 0, 0, 99]]]}, r"view 0: \[1, 1, 99, 0, 0, 99\] .*x1 <= x2"),
        ({"detections": [[[1, 1, 0, 99, 99, 0]]]}, r"view 0: \[1, 1, 0, 99, 99, 0\] .*y1 <= y2"),
    ],
)
def test_a_malformed_field_is_named(change, message):
    info = one_view([1, 1, 100, 100, 200, 200]) | change
    with pytest.raises(ValueError, match=message):
        view_scene(info, 0)


@pytest.mark.parametrize("track_id", [0, 1])
def test_two_karts_of_one_name_are_ambiguous_where_both_count(track_id):
    left, right = [1, 0, 0, 0, 80, 80], [1, track_id, 500, 200, 599, 399]
    info = one_view(left, right, karts=["tux", "tux"])
    with pytest.raises(AmbiguousView, match="view 0: two karts are named 'tux'"):
        view_scene(info, 0)
    info["detections"] = [[left, [1, track_id, 500, 200, 519, 219]], [right]]
    assert [kart.name for kart in view_scene(info, 0).karts] == ["tux"]
    assert [kart.name for kart in view_scene(info, 1).karts] == ["tux"]


@given(any_infos())
def test_whatever_the_info_file_no_scene_contradicts_itself_and_all_its_kinds_are_known(info):
    for view in range(len(info["detections"])):
        try:
            made = list(pairs(view_scene(info, view)))
        except ValueError:
            continue
        assert len({question for question, _ in made}) == len(made)
        assert all(kind_of(question) in KINDS for question, _ in made)


@pytest.mark.parametrize("name", ["track", "karts", "detections"])
def test_a_missing_field_is_named(name):
    info = one_view([1, 1, 100, 100, 200, 200])
    del info[name]
    with pytest.raises(ValueError, match=f"'{name}' is missing"):
        view_scene(info, 0)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=6))
def test_whatever_the_detections_are_only_a_value_error_comes(value):
    try:
        view_scene({"track": "abyss", "karts": ["tux"], "detections": value}, 0)
    except ValueError as error:
        assert "\n" not in str(error)
