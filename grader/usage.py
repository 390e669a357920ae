"""How much memory and how many threads a process may have, and has (Linux)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MEMORY_LIMIT_BYTES = 8_000_000_000
THREAD_LIMIT = max(512, 8 * (os.cpu_count() or 1))
CPU_LIMIT_S = 1800  # a core; ends a child whose parent can no longer do it


def excess(pid: int) -> str | None:
    """Which limit a process is over, as a message; None where that cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > (limit := memory_limit()):
            return f"used over {limit / 1e9:.1f} GB of memory and was stopped"
        if len(os.listdir(f"/proc/{pid}/task")) > THREAD_LIMIT:
            return f"started over {THREAD_LIMIT} threads and was stopped"
    return None


def memory_limit() -> int:
    """MEMORY_LIMIT_BYTES, or less where the machine has hardly more."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(MEMORY_LIMIT_BYTES, installed * 9 // 10)
    return MEMORY_LIMIT_BYTES


def data_limit() -> int:
    """For the system's own limit in bytes: above the watched one, as it counts whole stacks."""
    return memory_limit() * 5 // 4


def cpu_limit() -> int:
    """Seconds of CPU time, summed over all threads."""
    return CPU_LIMIT_S * (os.cpu_count() or 1)
