"""The batches of training: images with all their pairs.

A step's images depend on the seed, the epoch and the step alone, so that another number of
devices, or a resumed run, learns from the same images in the same steps. Within a step they
are dealt so that each device has about as much to do.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ..data import Item, VQADataset
from ..frames.images import open_image
from ..frames.split import frame_of, held_out
from ..model import packing
from ..model.inputs import InputBuilder, ViewSequence

HELD_OUT = 0.02  # share of the training frames that are held out for evaluation


class Sample(NamedTuple):
    """An image with its pairs."""

    square: np.ndarray  # uint8 (side, side, 3)
    sequence: ViewSequence
    path: str
    weight: float  # 0 for padding: a device without images must still take part in a step


class MicroBatch(NamedTuple):
    """What goes through the model at a time: F images."""

    samples: Sequence[Sample]
    squares: torch.Tensor  # uint8 (F, side, side, 3)
    row: packing.Row
    weight: float  # of all its questions

    @property
    def paths(self) -> list[str]:
        """Of its images."""
        return [sample.path for sample in self.samples]


def pack(samples: Sequence[Sample], size: int) -> MicroBatch:
    """Pack samples, whose sequences start with the same `size` tokens, into a micro-batch."""
    row = packing.pack([sample.sequence for sample in samples], size)
    weights = torch.tensor([sample.weight for sample in samples])
    row = row._replace(weights=row.weights * weights[row.layout.frames])
    squares = torch.from_numpy(np.stack([sample.square for sample in samples]))
    return MicroBatch(samples, squares, row, float(row.weights.sum()))


class ViewDataset(Dataset):
    """Images with their question/answer pairs, as model inputs.

    Index `~i` is image i with no weight.

    Args:
        views: (image_path, [(question, answer), ...]) of each image.
    """

    def __init__(
        self, views: list[tuple[str, list[tuple[str, str]]]], inputs: InputBuilder
    ) -> None:
        self.views, self.inputs = views, inputs

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        path, pairs = self.views[index if index >= 0 else ~index]
        square = self.inputs.resize(open_image(path))
        return Sample(square, self.inputs.view_sequence(pairs), path, float(index >= 0))

    @property
    def pairs(self) -> int:
        """Number of question/answer pairs of all views."""
        return sum(len(pairs) for _, pairs in self.views)


class StepSampler:
    """Which images each step takes, and of these which a process.

    Args:
        lengths: about how much work each image is.
        per_device: images of a process in a step, on average over the processes.
        rank, processes: which process this is, of how many.

    Attributes:
        images: of a step, in all processes.
        steps_per_epoch: steps that see each image once.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        per_device: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.lengths, self.seed = lengths, seed
        self.rank, self.processes = rank, processes
        self.images = per_device * processes
        self.steps_per_epoch = math.ceil(len(lengths) / self.images)

    def batches(self, steps: Iterable[int]) -> Iterator[list[int]]:
        """This process's images of each of `steps`."""
        drawn, order = None, []
        for step in steps:
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != drawn:
                rng = random.Random(f"{self.seed}/{epoch}")
                drawn, order = epoch, rng.sample(range(len(self.lengths)), len(self.lengths))
            start = place * self.images
            yield self._deal(order[start : start + self.images])[self.rank]

    def _deal(self, images: list[int]) -> list[list[int]]:
        """A step's images, the long ones first, each to the process that has the least."""
        shares: list[list[int]] = [[] for _ in range(self.processes)]
        loads = [(0, share) for share in range(self.processes)]
        for image in sorted(images, key=lambda index: -self.lengths[index]):
            load, share = heapq.heappop(loads)
            shares[share].append(image)
            heapq.heappush(loads, (load + self.lengths[image], share))
        # A last step may have fewer images than processes: what is left has no weight.
        return [share or [~images[0]] for share in shares]


def split_views(dataset: VQADataset | Sequence[Item], share: float) -> tuple[list, list]:
    """Split the images, with their pairs, into those of learned and of held-out frames."""
    by_image: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in dataset:
        by_image[item["image_path"]].append((item["question"], item["answer"]))
    frames = {path: frame_of(Path(path).name) for path in by_image}
    measured = held_out(frames.values(), share) if share else set()
    train, held = [], []
    for path, pairs in by_image.items():
        (held if frames[path] in measured else train).append((path, pairs))
    return train, held
