"""What this machine computes with: device, precision, processes that prepare images, memory."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .workers import num_cores

if TYPE_CHECKING:
    import torch

# What torch says when an allocation fails: of a GPU or MPS, of a CPU, of cuBLAS.
_NO_MEMORY = ("out of memory", "not enough memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC")
_CGROUP_1 = "/sys/fs/cgroup/memory/memory"
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
        built_for = torch.cuda.get_arch_list() if torch.version.cuda else None
        if built_for is None or has_kernels(capability, built_for):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return Machine("cuda", torch.bfloat16, f"cuda, bfloat16: {name}")
            if capability[0] == 7:
                reason = f"cuda, float16: {name} has fp16 matrix units and none for bf16"
                return Machine("cuda", torch.float16, reason)
            reason = f"cuda, float32: {name} has neither bf16 nor fp16 matrix units"
            return Machine("cuda", torch.float32, reason)
        unusable = (
            f"; {name} is left alone, as torch {torch.__version__} has no kernels for its "
            f"sm_{''.join(map(str, capability))} (it has {', '.join(built_for)})"
        )
    if torch.backends.mps.is_available():
        return Machine("mps", torch.float32, "mps, float32: the safe choice on Apple GPUs")
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        reason = "cpu, bfloat16: the CPU has bf16 matrix instructions"
        return Machine("cpu", torch.bfloat16, reason + unusable)
    reason = "cpu, float32: the CPU has no bf16 matrix instructions"
    return Machine("cpu", torch.float32, reason + unusable)


def has_kernels(capability: tuple[int, int], built_for: Iterable[str]) -> bool:
    """Whether a build of torch has kernels that an NVIDIA GPU can run.

    Kernels of sm_80 run on 8.0 and later 8.x, those of sm_90a on 9.0 alone, and the intermediate
    code of compute_80 on 8.0 and whatever came later.

    Args:
        capability: of the GPU: major, minor.
        built_for: torch.cuda.get_arch_list().
    """
    for name in built_for:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if not found:
            continue
        kind, (major, minor), exact = found[1], (int(found[2]), int(found[3])), bool(found[4])
        if exact and (major, minor) != capability:
            continue
        later = (major, minor) <= capability
        if later and (kind == "compute" or major == capability[0]):
            return True
    return False


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
    import torch

    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    if device == "mps":
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(left, _free_of_system())  # they share it
    return _free_of_system()


def _free_of_system() -> int:
    """Bytes of the machine's memory that are free, and within the limit of a container."""
    import psutil

    free = psutil.virtual_memory().available
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (f"{_CGROUP_1}.limit_in_bytes", f"{_CGROUP_1}.usage_in_bytes"),
    ):
        try:
            left = int(Path(limit).read_bytes()) - int(Path(used).read_bytes())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        # Pages of files count as used until something else needs them.
        free = min(free, left + getattr(psutil.virtual_memory(), "cached", 0))
    return max(0, free)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out, on whichever device."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


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


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was given."""
    import torch

    if device in ("cuda", "mps"):
        getattr(torch, device).synchronize()
