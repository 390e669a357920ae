"""What each patch of an image is taught."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import views

from homework.labels.questions import KARTS, TRACKS
from lab.pretraining import dense_labels


@settings(max_examples=60, deadline=None)
@given(views(), st.sampled_from([9, 12, 16]))
def test_dense_labels_say_what_the_scene_says(view, patches):
    labels = dense_labels.labels(view.scene, patches)
    names = {kart.name for kart in view.scene.karts}
    covered = {KARTS[index - 1] for index in np.unique(labels["kart"]) if index}
    assert covered <= names
    assert bool(covered) == bool(names)
    assert labels["count"] == len(names)
    assert labels["left"] + labels["right"] == max(len(names) - 1, 0)
    assert labels["front"] + labels["behind"] == max(len(names) - 1, 0)
    assert labels["center"].sum() <= len(names)
    assert TRACKS[labels["track"]] == view.scene.track
    # A patch is either no kart, the ego, or a kart with a side and a depth.
    other = (labels["kart"] > 0) & (labels["ego"] == 0)
    assert ((labels["side"] > 0) == other).all()
    assert ((labels["depth"] > 0) == other).all()
