"""What pre-training holds out, draws and batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homework.labels.questions import KARTS, TRACKS
from homework.labels.scene import Kart, make_scene
from homework.model.loading import EMBEDDED_BASE, load_inputs
from lab.pretraining import batches
from lab.pretraining.augment import View
from lab.pretraining.batches import Steps

INPUTS = load_inputs(EMBEDDED_BASE)


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
@given(folders(), st.sampled_from([0.02, 0.1]))
def test_what_is_held_out_is_never_learned(found, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "HELD_OUT", share)
        learned, kept = batches.hold_out(found)
    mine = [v for v in found[0] if any(v is k for k in kept)]
    assert len(mine) == len(kept)  # of the first folder
    scenes = [v.scene for v in kept]
    assert len(set(scenes)) == len(scenes)
    assert not {v.scene for v in learned} & set(scenes)
    assert len(learned) < sum(map(len, found))


def test_a_moment_that_never_moves_does_not_fill_the_batches():
    """99 views of one scene and one of another: 10 to 1 is what the square root leaves of them."""
    views = [view("abyss", ["tux"])] * 99 + [view("abyss", ["gnu"])]
    steps = Steps(views, INPUTS, {"batch_size": 500, "seed": 0, "dense_steps": 0}, 12, 36)
    drawn = steps.drawn(0)
    assert 25 < sum(number == 99 for number, _ in drawn) < 75  # 1 in 11, not 1 in 100
    assert drawn == steps.drawn(0)


def test_the_processes_share_a_step_and_its_first_images_are_described():
    shown = [view("abyss", ["tux", "gnu"][: i % 3], f"{i:05x}_00_im.jpg") for i in range(4)]
    for rank, processes in ((0, 1), (0, 2), (1, 2)):
        recipes = ({"batch_size": 8, "seed": 3, "dense_steps": steps} for steps in (3, 2))
        steps = [Steps(shown, INPUTS, recipe, 12, 36, (rank, processes)) for recipe in recipes]
        dense, described = (each[2] for each in steps)
        mine = [number for number, _ in steps[0].drawn(2)][rank::processes]
        assert dense.orders.images.tolist() == described.orders.images.tolist() == mine
        assert dense.paths == [shown[number].source for number in mine]
        assert (dense.row.layout.count, described.row.layout.count) == (0, len(mine) // 2)
        centers = dense.targets["center"].flatten().nonzero().flatten()
        assert torch.equal(dense.centers, centers) and len(dense.fine.heat) == len(mine)
