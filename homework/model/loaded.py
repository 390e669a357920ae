"""A loaded SmolVLM, which training, generation, scoring and heat maps take as an argument."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.distributed import say
from .loading import check_config, check_match, find_checkpoint, load_inputs, load_model
from .processor import library_processor

if TYPE_CHECKING:
    import torch


class LoadedVLM:
    """A SmolVLM on its device, with its processor.

    Attributes:
        model: Idefics3ForConditionalGeneration, or of SmolVLM2 SmolVLMForConditionalGeneration;
            float32 weights, in evaluation mode; with an adapter, the PEFT model around it.
        network: that model itself, adapter or not.
        inputs: InputBuilder, made from the files of the base's processor.
        device: "cuda", "mps" or "cpu".
        dtype: precision of matrix products, see `choose_device`.
        base: name of the base, as an adapter records it.
        folder: folder of the base.
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

        self.base, self.folder = find_checkpoint(checkpoint)
        self.device, self.dtype, reason = choose_device()
        if verbose:
            say(f"{self.base} on {reason}")
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
    def inference(self) -> Iterator[None]:
        """Disable gradients and run matrix products in the precision of `dtype`."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, self.dtype, self.dtype != torch.float32),
        ):
            yield


def choose_device() -> tuple[str, torch.dtype, str]:
    """The device, the precision of matrix products, and one line that says why.

    bf16 is chosen only if the hardware supports it; on other CPUs it is several times slower
    than float32.
    """
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "cuda", torch.bfloat16, f"cuda, bfloat16: {name}"
        return "cuda", torch.float32, f"cuda, float32: {name} has no bf16 matrix units"
    if torch.backends.mps.is_available():
        return "mps", torch.float32, "mps, float32: the safe choice on Apple GPUs"
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return "cpu", torch.bfloat16, "cpu, bfloat16: the CPU has bf16 matrix instructions"
    return "cpu", torch.float32, "cpu, float32: the CPU has no bf16 matrix instructions"
