"""What this machine computes with: device, precision, processes that prepare images, memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .errors import one_line
from .workers import num_cores

if TYPE_CHECKING:
    import torch

# What torch says when an allocation fails: of a GPU or MPS, of a CPU, of cuBLAS.
_NO_MEMORY = ("out of memory", "not enough memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC")
MAX_WORKERS = 8  # processes that decode images; 8 are enough for one GPU
Parts = TypeVar("Parts")
Result = TypeVar("Result")


class Machine(NamedTuple):
    """The device that the model runs on."""

    device: str  # "cuda", "mps" or "cpu"
    dtype: torch.dtype  # of matrix products: float32, bfloat16, or float16 with a scaled loss
    reason: str  # one line that names both and says why


def choose() -> Machine:
    """The device and the precision of matrix products of this machine.

    bf16 is chosen only if the hardware supports it; on other CPUs it is several times slower
    than float32. GPUs of compute capability 7 (T4, V100) have matrix units for fp16 alone.
    """
    import torch

    unusable = ""
    if torch.cuda.is_available():
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        if not (fault := _fault_of_gpu()):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return Machine("cuda", torch.bfloat16, f"cuda, bfloat16: {name}")
            if capability[0] == 7:
                reason = f"cuda, float16: {name} has fp16 matrix units and none for bf16"
                return Machine("cuda", torch.float16, reason)
            reason = f"cuda, float32: {name} has neither bf16 nor fp16 matrix units"
            return Machine("cuda", torch.float32, reason)
        unusable = f"; {name} is left alone: torch {torch.__version__} cannot use it ({fault})"
    if torch.backends.mps.is_available():
        return Machine("mps", torch.float32, "mps, float32: the safe choice on Apple GPUs")
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        reason = "cpu, bfloat16: the CPU has bf16 matrix instructions"
        return Machine("cpu", torch.bfloat16, reason + unusable)
    reason = "cpu, float32: the CPU has no bf16 matrix instructions"
    return Machine("cpu", torch.float32, reason + unusable)


def _fault_of_gpu() -> str:
    """Why the GPU cannot compute, for example as this build of torch has no kernels for it."""
    import torch

    # The GPU that accelerate will give to this process.
    number = int(os.environ.get("LOCAL_RANK") or 0) % max(torch.cuda.device_count(), 1)
    try:
        torch.ones(2, device=f"cuda:{number}").sum().item()
    except RuntimeError as error:
        return one_line(error)
    return ""


def num_workers(device: str) -> int:
    """Processes that decode images, so that the device does not wait for them.

    A CPU is busy with the model itself: there they would only take its time.
    """
    if device == "cpu":
        return 0
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that a launcher has started
    return max(0, min(num_cores() // beside - 1, MAX_WORKERS))


def free_memory(device: str) -> int:
    """Bytes that a training can still take on a device."""
    import psutil
    import torch

    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    free = psutil.virtual_memory().available
    if device == "mps":  # they share it
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(left, free)
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out, on whichever device."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
    )


def in_memory(
    compute: Callable[[Parts], Result], parts: Parts, smaller: Callable[[Parts], Parts]
) -> Result:
    """`compute(parts)`; where memory runs out, of what `smaller` makes of them, again and again."""
    while True:
        try:
            return compute(parts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # The error, which held the tensors of the pass, has gone here.
        parts = smaller(parts)


def release_memory(device: str) -> None:
    """Give back what an interrupted pass has left; no exception may hold it any more."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
