"""What pre-training holds out, draws and batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import Kart, make_scene
from lab import pretrain
from lab.pretraining.augment import View
from lab.pretraining.batches import AugmentedBatches, hold_out


def view(track, karts, source="00000_00_im.jpg"):
    karts = tuple(Kart(name, (10 * i, 10, 10 * i + 9, 30)) for i, name in enumerate(karts))
    return View(np.zeros((100, 150, 3), np.uint8), make_scene(track, karts), source)


@st.composite
def folders(draw):
    """Two folders of views of a few karts on a few tracks."""
    found = []
    for _ in range(2):
        line_ups = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(TRACKS[:12]),
                    st.sets(st.sampled_from(KARTS[:4]), max_size=3),
                ),
                min_size=10,
                max_size=40,
            )
        )
        found.append(
            [
                view(track, sorted(karts), f"{i:05x}_00_im.jpg")
                for i, (track, karts) in enumerate(line_ups)
            ]
        )
    return found


@settings(max_examples=60, deadline=None)
@given(folders(), st.sampled_from(list(pretrain.HELD_OUT)))
def test_what_is_held_out_is_never_learned(found, by):
    learned, kept = hold_out(found, by, 0.1)
    mine = [v for v in found[0] if any(v is k for k in kept)]
    assert len(mine) == len(kept)  # of the first folder
    scenes = [v.scene for v in kept]
    assert len(set(scenes)) == len(scenes)
    assert not {v.scene for v in learned} & set(scenes)
    if by == "track":
        assert {v.scene.track for v in learned}.isdisjoint({v.scene.track for v in kept})
    if by == "race":  # neither folder is a recording
        assert {v.scene.track for v in learned}.isdisjoint({v.scene.track for v in kept})
    if by == "frame":
        assert len(learned) < sum(map(len, found))
    if by == "pair":
        seen = {(v.scene.track, kart.name) for v in learned for kart in v.scene.karts}
        for v in kept:
            assert not seen.issuperset({(v.scene.track, kart.name) for kart in v.scene.karts})


@settings(max_examples=60, deadline=None)
@given(folders())
def test_of_a_held_out_race_what_recordings_show_of_its_track_is_learned(found):
    learned, kept = hold_out(found, "race", 0.1, (False, True))
    mine, first = {id(v) for v in learned}, {id(v) for v in found[0]}
    tracks = {v.scene.track for v in found[0]}
    left_out = tracks - {v.scene.track for v in learned if id(v) in first}
    assert {v.scene.track for v in kept} <= left_out
    assert len(left_out) == len(tracks) // 10
    assert all(id(v) in mine for v in found[1])


def test_a_moment_that_never_moves_does_not_fill_the_batches():
    """99 views of one scene and one of another: 10 to 1 is what the square root leaves of them."""
    views = [view("abyss", ["tux"])] * 99 + [view("abyss", ["gnu"])]
    batches = AugmentedBatches(views, 500, seed=0, augmentations=())
    other = sum(v.scene.karts[0].name == "gnu" for v in batches[0])
    assert 25 < other < 75  # 1 in 11, not 1 in 100
    assert [v.scene for v in batches[0]] == [v.scene for v in batches[0]]
