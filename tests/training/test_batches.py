"""How images are held out and dealt to steps and devices."""

from pathlib import Path

import pytest

from homework.frames.split import held_out
from homework.training.batches import StepSampler, split_views


def epoch(sampler: StepSampler) -> list[list[int]]:
    """The batches of the first epoch."""
    return list(sampler.batches(range(sampler.steps_per_epoch)))


@pytest.mark.parametrize("images", [203, 192, 193, 17])
def test_a_steps_images_do_not_depend_on_how_it_is_divided(images):
    lengths = [1 + index % 9 for index in range(images)]

    def steps(per_device, processes) -> list[list[int]]:
        """The images of each step, by all processes."""
        parts = [
            epoch(StepSampler(lengths, per_device, 0, rank, processes)) for rank in range(processes)
        ]
        # A process with nothing to do would leave the others waiting.
        assert all(all(part) for part in parts)
        return [
            sorted(index for batch in step for index in batch if index >= 0)
            for step in zip(*parts, strict=True)
        ]

    whole = steps(16, 1)
    assert sorted(index for step in whole for index in step) == list(range(images))
    for division in ((8, 2), (4, 4), (2, 8), (1, 16)):
        assert steps(*division) == whole
    sampler = StepSampler(lengths, 16, 0)
    first = epoch(sampler)
    assert epoch(sampler) == first
    assert epoch(StepSampler(lengths, 16, 1)) != first


def test_each_epoch_has_another_order_and_any_step_can_be_the_first():
    sampler = StepSampler([1] * 30, 8, 0)
    assert sampler.steps_per_epoch == 4
    steps = list(sampler.batches(range(12)))
    epochs = [steps[start : start + 4] for start in (0, 4, 8)]
    for one in epochs:
        assert sorted(index for batch in one for index in batch) == list(range(30))
    assert epochs[0] != epochs[1] != epochs[2]
    for first in range(12):
        assert list(sampler.batches(range(first, 12))) == steps[first:]


def test_devices_have_about_as_much_to_do():
    lengths = [1 + (index * 7) % 31 for index in range(640)]
    shares = [epoch(StepSampler(lengths, 8, 0, rank, 4)) for rank in range(4)]
    for step in zip(*shares, strict=True):
        work = [sum(lengths[index] for index in batch) for batch in step]
        assert max(work) < 1.15 * min(work)


def test_views_of_one_frame_are_held_out_together():
    items = [
        {"image_path": f"/d/train/{frame:05x}_{view:02d}_im.jpg", "question": "q", "answer": "a"}
        for frame in range(40)
        for view in range(10)
    ]
    train, held = split_views(items, 0.05)
    assert len(held) == 20 and len(train) == 380
    frames = [{Path(path).name.split("_")[0] for path, _ in part} for part in (train, held)]
    assert not frames[0] & frames[1]
    # Pre-training asks with other parts of the names and must get the same frames.
    assert {name[:5] for name in held_out((f"{f:05x}_info.json" for f in range(40)), 0.05)} == (
        frames[1]
    )
