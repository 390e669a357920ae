"""What the engine's process makes of a frame: the boxes of what is seen."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def engine(monkeypatch):
    """The module of the engine's process, without the engine."""
    kinds = {"object_type_shift": 24, "GraphicsConfig": None}
    monkeypatch.setitem(sys.modules, "pystk", SimpleNamespace(**kinds))
    from lab.recording import engine

    yield engine
    sys.modules.pop("lab.recording.engine", None)


def test_placed_karts_are_in_groups_within_the_metres(engine):
    """In groups of four, each further along the line than the one before, at one speed."""
    put = []
    line = SimpleNamespace(length=400.0, put=lambda *where: put.append(where))
    state = SimpleNamespace(karts=[SimpleNamespace(id=number) for number in range(8)])
    engine._put_groups(state, line, lambda: engine.GROUP, random.Random(3))
    assert sorted(kart for kart, *_ in put) == list(range(8))
    near, far = engine.CROWDED
    for group in (put[:4], put[4:]):
        begin = group[0][1]
        for place, (_, distance, aside, speed) in enumerate(group):
            assert near * place <= distance - begin <= far * place
            assert abs(aside) <= engine.ASIDE and speed == group[0][3]


def test_boxes_are_first_and_last_pixels_sorted(engine):
    mask = np.zeros((6, 9), np.uint32)
    mask[1:3, 2:5] = (1 << 24) | 7
    mask[4, 8] = (1 << 24) | 2
    mask[5, 0] = 255 << 24
    expected = [[1, 2, 8, 4, 8, 4], [1, 7, 2, 1, 4, 2], [255, 0, 0, 5, 0, 5]]
    assert engine.boxes(mask) == expected
