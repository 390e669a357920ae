"""The passes of a step, so that they fit into the memory of the device.

The gradients of a step are summed over its passes, so that its result does not depend on them
(but for rounding). What one image needs is counted; where memory runs out all the same, passes
get half as large and the step begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..common import machine
from ..common.distributed import print0
from ..common.errors import InputError
from .batches import Collator, MicroBatch, ViewDataset

# Patches and tokens of a pass, at most: more gain no speed.
LARGEST = {"cpu": 2_304, "mps": 4_096, "cuda": 16_384}
# Activations of a pass: the whole of SmolVLM-256M then stays under 4 GB on a CPU and about 6 GB on
# a GPU (6.7 GB were measured with 3.5e9). A GPU with more free memory gives OF_FREE of it.
OF_FREE = 1 / 6
MAX_BYTES = {"cpu": 1.0e9, "mps": 3.5e9, "cuda": 2.8e9}
ROOM = 0.6  # share of the free memory for them; gradients and intermediate results need the rest


class Cost(NamedTuple):
    """What a pass takes in training."""

    tokens: int  # its patches and text tokens
    kept: int  # bytes that the backward pass needs from the forward pass
    seconds: float  # of both passes


class Passes:
    """Cuts the images of a step into passes.

    Attributes:
        settings: "tokens_per_pass", patches and tokens of a pass, and "gradient_checkpointing",
            as in TrainConfig; a checkpoint keeps them, so that a resumed run rounds alike.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: str,
        images: ViewDataset,
        collator: Collator,
        tokens_per_pass: int | None,
        gradient_checkpointing: bool,
    ) -> None:
        self.network, self.device = network, device
        self.images, self.collator, self.given = images, collator, tokens_per_pass
        self.settings: dict[str, Any] = {
            "tokens_per_pass": tokens_per_pass or LARGEST[device],
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.use()

    def use(self) -> None:
        """Begin to use the settings; of a checkpoint too, but for what the user has chosen."""
        if self.given:
            self.settings["tokens_per_pass"] = self.given
        self.collator.budget = self.settings["tokens_per_pass"]
        if self.settings["gradient_checkpointing"]:
            keep_less(self.network)

    def fit(self, cost: Cost) -> None:
        """Choose them by what an image takes, unless the user has chosen."""
        if self.given or self.settings["gradient_checkpointing"]:
            return
        free = machine.free_memory(self.device)
        most = MAX_BYTES[self.device]
        if self.device == "cuda":  # its time is that of the calls, until it is full
            most = max(most, OF_FREE * free)
        room = min(ROOM * free, most)
        if cost.kept > ROOM * free:
            self.settings |= {"gradient_checkpointing": True, "tokens_per_pass": cost.tokens}
            print0("one image fits into memory with gradient checkpointing only")
        else:
            tokens = int(room / cost.kept * cost.tokens)
            self.settings["tokens_per_pass"] = min(tokens, LARGEST[self.device])
        self.use()

    def line(self, cost: Cost) -> str:
        """What a pass is, for people."""
        images = max(1, self.settings["tokens_per_pass"] // cost.tokens)
        held = images * cost.kept / 1e9
        how = " with gradient checkpointing" * self.settings["gradient_checkpointing"]
        return (
            f"{images} image{'s' * (images > 1)} in a pass{how}: {held:.1f} GB of "
            f"{machine.free_memory(self.device) / 1e9:.1f} GB free"
        )

    def cut(
        self, passes: Sequence[MicroBatch], images: ViewDataset | None = None
    ) -> list[MicroBatch]:
        """The passes, made anew where they are too large; of `self.images` if omitted."""
        images, fitting = images or self.images, []
        for each in passes:
            if len(each.paths) == 1 or self.cost(each) <= self.collator.budget:
                fitting.append(each)
            else:
                fitting += self.collator([images[index] for index in each.indices])
        return fitting

    def smaller(
        self, passes: Sequence[MicroBatch], images: ViewDataset | None = None
    ) -> list[MicroBatch]:
        """The same images (see `cut`) in passes half as large, once memory has run out.

        Raises InputError if they cannot get smaller.
        """
        machine.release_memory(self.device)
        if max(len(each.paths) for each in passes) > 1:
            largest = max(map(self.cost, passes))
            self.given, self.settings["tokens_per_pass"] = None, largest // 2
            print0(
                f"memory has run out: goes on with {largest // 2:,} patches and tokens in a pass"
            )
        elif not self.settings["gradient_checkpointing"]:
            self.settings["gradient_checkpointing"] = True
            print0("memory has run out at one image: goes on with gradient checkpointing")
        else:
            raise InputError(
                f"not enough memory on {self.device} for one image; end other programs, or give "
                "--base embedded_base"
            )
        self.use()
        return self.cut(passes, images)

    def cost(self, part: MicroBatch) -> int:
        """Patches and tokens of a pass."""
        return self.collator.patches * len(part.paths) + part.row.input_ids.numel()


def keep_less(network: Any) -> None:
    """Gradient checkpointing: compute layers a second time in the backward pass."""
    # The other form, reentrant, would give the first layers no gradients: no weight before
    # them is trained. transformers 4 has the older name only, and 5 warns of it.
    older = network.gradient_checkpointing_enable
    getattr(network, "activation_checkpointing_enable", older)({"use_reentrant": False})


def kept_bytes(forward, weights: Sequence[torch.Tensor]) -> tuple[Any, int]:
    """What a forward pass returns, and the bytes that its backward pass needs besides weights."""
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
        result = forward()
    return result, sum(kept.values())
