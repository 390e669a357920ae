"""What the engine's process makes of a frame: the boxes of what is seen."""

import sys
from types import SimpleNamespace

import numpy as np


def test_boxes_are_first_and_last_pixels_sorted(monkeypatch):
    kinds = {"object_type_shift": 24, "GraphicsConfig": None}
    monkeypatch.setitem(sys.modules, "pystk", SimpleNamespace(**kinds))
    from lab.recording import engine

    mask = np.zeros((6, 9), np.uint32)
    mask[1:3, 2:5] = (1 << 24) | 7
    mask[4, 8] = (1 << 24) | 2
    mask[5, 0] = 255 << 24
    expected = [[1, 2, 8, 4, 8, 4], [1, 7, 2, 1, 4, 2], [255, 0, 0, 5, 0, 5]]
    assert engine.boxes(mask) == expected
    del sys.modules["lab.recording.engine"]
