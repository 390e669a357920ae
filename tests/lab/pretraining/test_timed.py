"""Pre-training that ends with its time."""

import itertools

import numpy as np
import pytest

from homework.labels.scene import Kart, make_scene
from lab.pretraining import batches, timed
from lab.pretraining.augment import View
from lab.pretraining.timed import TimedPretraining


@pytest.mark.slow
def test_phases_rate_and_measurements_follow_the_time(tiny_architecture, tmp_path, monkeypatch):
    """By a clock that each look at it moves on by a second."""
    monkeypatch.setattr(batches, "HELD_OUT", 0.2)
    now = itertools.count()
    monkeypatch.setattr(timed, "monotonic", lambda: float(next(now)))
    views = []
    for n in range(20):
        karts = (Kart("tux", (n, 10, n + 15, 30)), Kart("gnu", (50, n, 70, n + 30)))
        image = np.full((100, 150, 3), n, np.uint8)
        views.append(View(image, make_scene("abyss", karts[: 1 + n % 2]), f"{n:05x}_00_im.jpg"))
    recipe = {"batch_size": 2, "seed": 0, "learning_rate": 1e-3, "described": 0.5}
    task = TimedPretraining([views], recipe, 0)
    rates, rate = [], task.learning_rate
    monkeypatch.setattr(task, "learning_rate", lambda step: rates.append(rate(step)) or rates[-1])
    found = task.train(tmp_path, 100)
    dense, steps = found["dense_steps"], found["steps"]
    assert 0 < dense < steps and found["pictures"] == 2 * steps
    assert abs(dense / steps - timed.DENSE) < 0.1
    assert rates[-1] < 0.1 * max(rates)
    measured = [record["step"] for record in found["log"]]
    assert measured == sorted(set(measured)) and 3 <= len(measured) <= 5 and measured[0] > dense
