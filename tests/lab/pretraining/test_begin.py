"""The parts that are compiled for a GPU compute what they computed before."""

import torch

from lab.pretraining import architecture, begin
from lab.pretraining.normalise import normalise


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
