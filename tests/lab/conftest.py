"""What the lab's tests share."""

from copy import deepcopy

import pytest

from lab.pretraining import architecture


@pytest.fixture
def tiny_architecture(monkeypatch):
    """A base that a core trains in a moment."""
    config = architecture.base_config()
    config.vision_config.num_hidden_layers = config.text_config.num_hidden_layers = 1
    config.stem_channels, config.stem_blocks = [8, 16, 32], [0, 1, 0]
    monkeypatch.setattr(architecture, "base_config", lambda: deepcopy(config))
