"""What pre-training holds out, draws and batches."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import Kart, make_scene
from homework.model.loading import load_inputs
from lab import pretrain
from lab.pretraining import architecture
from lab.pretraining.augment import View
from lab.pretraining.batches import AugmentedBatches, Steps, hold_out


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
    if by == "race":  # neither folder is a recording
        assert {v.scene.track for v in learned}.isdisjoint({v.scene.track for v in kept})
    if by == "frame":
        assert len(learned) < sum(map(len, found))


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
    other = sum(changes.scene.karts[0].name == "gnu" for _, changes in batches[0])
    assert 25 < other < 75  # 1 in 11, not 1 in 100
    assert batches[0] == batches[0]


def test_the_processes_share_a_step_and_its_first_images_are_described(tmp_path):
    architecture.save_processor(tmp_path)
    inputs = load_inputs(tmp_path)
    shown = [view("abyss", ["tux", "gnu"][: i % 3], f"{i:05x}_00_im.jpg") for i in range(4)]
    drawn = AugmentedBatches(shown, 8, 3)
    numbers = [number for number, _ in drawn[2]]
    for rank, processes in ((0, 1), (0, 2), (1, 2)):
        dense, described = (
            Steps(drawn, inputs, 12, 36, steps, (rank, processes), 0.5)[2] for steps in (3, 2)
        )
        mine = numbers[rank::processes]
        assert dense.orders.images.tolist() == described.orders.images.tolist() == mine
        assert dense.paths == [shown[number].source for number in mine]
        assert (dense.row.layout.count, described.row.layout.count) == (0, len(mine) // 2)
        centers = dense.targets["center"].flatten().nonzero().flatten()
        assert torch.equal(dense.centers, centers) and len(dense.fine.heat) == len(mine)
