"""The peak memory of a benchmark's process."""

from __future__ import annotations

import sys

import torch


def peak_memory_bytes() -> int:
    """The most memory that this process has held: the GPU's where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        raise SystemExit("the peak memory of a process is not read on Windows")
    import resource

    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
