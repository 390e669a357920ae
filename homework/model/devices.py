"""Where a model runs and in which precision: chosen here, once, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def choose_device() -> tuple[str, torch.dtype, str]:
    """Device, precision of the matrix products, and a line that says why.

    bf16 is taken only where the device multiplies it faster than float32; elsewhere on a CPU
    it is several times slower.
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
