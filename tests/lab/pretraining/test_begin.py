"""Parts that are compiled for a GPU compute what they did before; no normalisation is left."""

import pytest
import torch

from lab.pretraining import architecture, begin
from lab.pretraining.begin import fold, normalise


@pytest.mark.slow
def test_compiled_parts_give_the_same_in_training_and_are_left_out_of_measuring(tiny_architecture):
    plain, fast = (architecture.build_model(0) for _ in range(2))
    for model in (plain, fast):
        normalise(model.stem)
    begin.compile_tower(fast, "aot_eager")
    pixels = torch.rand(2, 3, 144, 144)
    for training in (True, False):
        results = []
        for model in (plain, fast):
            model.train(training).zero_grad()
            seen = model.model.vision_model(pixel_values=pixels).last_hidden_state
            seen.square().sum().backward()
            results.append((seen, model.stem.stages[0].enter.conv.weight.grad.clone()))
        torch.testing.assert_close(results[0], results[1])
    assert plain.state_dict().keys() == fast.state_dict().keys()
    torch._dynamo.reset()


def test_folding_changes_no_answer():
    """The same patches before and after, for one image as for many; no normalisation left."""
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
        single = torch.cat([stem(image[None]) for image in pixels])
    assert not [part for part in stem.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(single, after, rtol=1e-3, atol=1e-3)
