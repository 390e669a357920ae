"""A loaded SmolVLM, which training, generation, scoring and heat maps take as an argument."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..common import machine
from ..common.distributed import print0
from .loading import check_config, check_match, find_checkpoint, load_inputs, load_model
from .processor import library_processor


class Record(NamedTuple):
    """What is known of an adapter; a loaded model carries that of its own.

    Attributes:
        folder: its folder.
        base: name of the base that it was trained on; see BaseVLM.
        fingerprint: SHA-256 of the weights of that base; None if something else trained it.
        training: options, versions and the best result on held-out frames, as `train` records
            them; None if something else trained the adapter.
    """

    folder: Path
    base: str
    fingerprint: str | None
    training: dict[str, Any] | None

    @property
    def split(self) -> str | None:
        """Name of the split that it was trained on; None if that is not known."""
        if self.training is None:
            return None
        split = self.training.get("train_dataset_name")
        return split if isinstance(split, str) else "train"


class LoadedVLM:
    """A SmolVLM on its device, with its processor.

    Attributes:
        model: Idefics3ForConditionalGeneration, or of SmolVLM2 SmolVLMForConditionalGeneration;
            float32 weights, in evaluation mode; with an adapter, the PEFT model around it.
        network: that model itself, adapter or not.
        inputs: InputBuilder, made from the files of the base's processor.
        device: "cuda", "mps" or "cpu".
        dtype: precision of matrix products; see `machine.choose`.
        base: name of the base, as an adapter records it.
        folder: folder of the base.
        adapter: the record of the adapter that is attached; None for a base alone.
        can_switch: whether PEFT can switch the adapter off and leave the base as its file has it,
            to the bit: not once it is merged, nor where it changes the base's own weights.
    """

    def __init__(self, checkpoint: str | Path | None = None, verbose: bool = True) -> None:
        """Load a base from disk, without using the network.

        Args:
            checkpoint: a folder, a hub name that is in the hub cache, or "embedded_base". None is
                SmolVLM-256M-Instruct if the hub cache has it, otherwise the embedded base.
            verbose: print the base and the device.

        Raises:
            InputError: the base is not on disk or is not a SmolVLM.
        """
        from . import attention

        self.adapter: Record | None = None
        self.can_switch = False
        self.base, self.folder = find_checkpoint(checkpoint)
        self.device, self.dtype, reason = machine.choose()
        if verbose:
            print0(f"{self.base} on {reason}")
        check_config(self.folder)
        self.inputs = load_inputs(self.folder)
        self.model = self.network = load_model(self.folder).to(self.device).eval()
        attention.use(self.network)
        check_match(self.model, self.inputs, self.folder)

    @cached_property
    def processor(self):
        """transformers' own processor of the base, which this package does not need."""
        return library_processor(self.folder)

    @property
    def patches(self) -> int:
        """Patches of a picture in the vision tower."""
        return (self.inputs.side // self.network.config.vision_config.patch_size) ** 2

    @contextmanager
    def base_alone(self) -> Iterator[LoadedVLM]:
        """The base without the adapter: this model, with the adapter switched off for the block.

        It has no second model in memory unless the adapter cannot be switched off: PEFT would take
        a merged one out by subtraction, which leaves rounding errors.
        """
        if self.adapter is None:
            yield self
        elif self.can_switch:
            with self.model.disable_adapter():
                yield self
        else:
            base = type(self)(self.folder, verbose=False)
            base.inputs = self.inputs
            yield base

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Disable gradients and run matrix products in the precision of `dtype`."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, self.dtype, self.dtype != torch.float32),
        ):
            yield
