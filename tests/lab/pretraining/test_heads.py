"""The throw-away heads."""

import torch

from homework.labels.questions import KARTS, TRACKS
from lab.pretraining import heads


def test_heads_score_patches_by_likeness_to_the_words():
    """A token that equals a kart's embedding is that kart to the head."""
    torch.manual_seed(0)
    embeddings = torch.randn(40, 16)
    ids = {"kart": list(range(18)), "side": [20, 21], "depth": [22, 23]}
    model = heads.Heads(16, ids)
    scores = model(embeddings[None, [5, 21]], embeddings)
    assert scores["kart"].shape == (1, 2, len(KARTS) + 1)
    assert scores["kart"][0, 0].argmax() == 5 + 1
    assert scores["side"][0, 1].argmax() == 2
    assert scores["track"].shape == (1, len(TRACKS))
