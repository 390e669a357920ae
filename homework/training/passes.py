"""The passes of a step, so that they fit into the memory of the device.

The gradients of a step are summed over its passes, so that its result does not depend on them
(but for rounding). What one image needs is counted; where memory runs out all the same, passes
get half as large and the step begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..common import machine
from ..common.distributed import print0
from ..common.errors import InputError
from ..model import packing
from ..model.vlm import BaseVLM
from .batches import MicroBatch, Sample, pack

# Patches and tokens of a pass, at most: more gain no speed.
LARGEST = {"cpu": 2_304, "mps": 4_096, "cuda": 16_384}
# Activations of a pass: the whole of SmolVLM-256M then stays under 4 GB on a CPU and about 6 GB on
# a GPU (6.7 GB were measured with 3.5e9). A GPU with more free memory gives OF_FREE of it.
OF_FREE = 1 / 6
MAX_BYTES = {"cpu": 1.0e9, "mps": 3.5e9, "cuda": 2.8e9}
ROOM = 0.6  # share of the free memory for them; gradients and intermediate results need the rest


class Passes:
    """Packs the images of a step into passes.

    Attributes:
        settings: "tokens_per_pass", patches and tokens of a pass at most, but of one image, and
            "gradient_checkpointing", as in TrainConfig; a checkpoint keeps them, so that a resumed
            run rounds alike.
        line: what `fit` has chosen, for people.
    """

    def __init__(
        self, vlm: BaseVLM, tokens_per_pass: int | None = None, gradient_checkpointing: bool = False
    ) -> None:
        self.vlm, self.given = vlm, tokens_per_pass
        self.settings: dict[str, Any] = {
            "tokens_per_pass": tokens_per_pass or LARGEST[vlm.device],
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.line = ""
        self.use()

    def use(self) -> None:
        """Begin to use the settings; of a checkpoint too, but for what the user has chosen."""
        if self.given:
            self.settings["tokens_per_pass"] = self.given
        if self.settings["gradient_checkpointing"]:
            keep_less(self.vlm.network)

    def pack(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        """The micro-batches of some images, in their order."""
        costs = list(map(self.cost, samples))
        parts = packing.split(costs, self.settings["tokens_per_pass"])
        size = len(self.vlm.inputs.prefix_ids)
        return [pack([samples[index] for index in part], size) for part in parts]

    def cost(self, sample: Sample) -> int:
        """Patches and tokens of an image with its pairs."""
        return self.vlm.patches + len(sample.sequence.input_ids)

    def fit(self, tokens: int, kept: int) -> None:
        """Choose the settings, unless the user has.

        Args:
            tokens: patches and tokens of a pass.
            kept: bytes that its backward pass needs from the forward pass.
        """
        device = self.vlm.device
        free = machine.free_memory(device)
        if not self.given and not self.settings["gradient_checkpointing"]:
            most = MAX_BYTES[device]
            if device == "cuda":  # its time is that of the calls, until it is full
                most = max(most, OF_FREE * free)
            if kept > ROOM * free:
                self.settings |= {"gradient_checkpointing": True, "tokens_per_pass": tokens}
            else:
                fitting = int(min(ROOM * free, most) / kept * tokens)
                self.settings["tokens_per_pass"] = min(fitting, LARGEST[device])
            self.use()
        images = max(1, self.settings["tokens_per_pass"] // tokens)
        how = " with gradient checkpointing" * self.settings["gradient_checkpointing"]
        held = f"{images * kept / 1e9:.1f} GB of {free / 1e9:.1f} GB free"
        self.line = f"{images} image{'s' * (images > 1)} in a pass{how}: {held}"

    def smaller(self, passes: Sequence[MicroBatch]) -> list[MicroBatch]:
        """The same images in passes half as large, once memory has run out.

        Raises InputError if they cannot get smaller.
        """
        machine.release_memory(self.vlm.device)
        if max(len(each.samples) for each in passes) > 1:
            largest = max(sum(map(self.cost, each.samples)) for each in passes)
            self.given, self.settings["tokens_per_pass"] = None, largest // 2
            print0(
                f"memory has run out: goes on with {largest // 2:,} patches and tokens in a pass"
            )
        elif not self.settings["gradient_checkpointing"]:
            self.settings["gradient_checkpointing"] = True
            print0("memory has run out at one image: goes on with gradient checkpointing")
        else:
            raise InputError(
                f"not enough memory on {self.vlm.device} for one image; end other programs, or "
                "give --base embedded_base"
            )
        self.use()
        return self.pack([sample for each in passes for sample in each.samples])


def keep_less(network: Any) -> None:
    """Gradient checkpointing: compute layers a second time in the backward pass."""
    # The other form, reentrant, would give the first layers no gradients: no weight before
    # them is trained. transformers 4 has the older name only, and 5 warns of it.
    older = network.gradient_checkpointing_enable
    getattr(network, "activation_checkpointing_enable", older)({"use_reentrant": False})


@contextmanager
def counting(weights: Iterable[torch.Tensor]) -> Iterator[dict[int, int]]:
    """Count what a forward pass in this block keeps for its backward pass, besides weights.

    Yields a dict whose values are numbers of bytes, one for each storage.
    """
    weights = list(weights)
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    # Autocast's copies of weights, which all passes share, have other storages.
    shapes = {shape for weight in weights for shape in (weight.shape, weight.shape[::-1])}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.shape not in shapes:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield kept
