"""The stem's normalisation during pre-training, and that none is left of it."""

import torch

from lab.pretraining import architecture
from lab.pretraining.normalise import fold, normalise


def test_folding_changes_no_answer():
    """The same patches before and after, for one picture as for many; no normalisation left."""
    stem = architecture.build_model(1).stem
    normalise(stem)
    for module in stem.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    pixels = torch.randn(4, 3, 72, 72)
    for _ in range(3):
        stem(pixels)  # running statistics of its own
    stem.eval()
    with torch.no_grad():
        before = stem(pixels)
        fold(stem)
        after = stem.train()(pixels)
        single = torch.cat([stem(picture[None]) for picture in pixels])
    assert not [part for part in stem.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(single, after, rtol=1e-3, atol=1e-3)
