"""How much memory and how many threads a process may have, and has (Linux)."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

MEMORY_LIMIT_BYTES = 8_000_000_000
THREAD_LIMIT = max(512, 8 * (os.cpu_count() or 1))
CPU_LIMIT_S = 1800  # a core; ends a child whose parent can no longer do it


def excess(pid: int, shared_before: int, limit: int) -> str | None:
    """Which limit a process is over, as a message; None where that cannot be told.

    Memory that is shared by a mapping without a file stays held when its pages are given back, or
    all of it but one page is unmapped. No count of the process's own has it; the machine's has.

    Args:
        shared_before: what `shared_memory` was before the process could use any.
        limit: of memory, in bytes.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        now = _sizes(f"/proc/{pid}/status")
        used = now["VmRSS"] + now.get("VmPTE", 0) + now.get("VmSwap", 0)
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
        if shared := [
            row for row in lines if row.endswith(b"(deleted)") and row.split()[1][3:] == b"s"
        ]:
            ends = (row.split()[0].split(b"-") for row in shared)
            mapped = sum(int(end, 16) - int(start, 16) for start, end in ends)
            used += max(mapped, shared_memory() - shared_before) - now.get("RssShmem", 0)
        if used > limit:
            return f"used over {limit / 1e9:.1f} GB of memory and was stopped"
        if len(os.listdir(f"/proc/{pid}/task")) > THREAD_LIMIT:
            return f"started over {THREAD_LIMIT} threads and was stopped"
    return None


def shared_memory() -> int:
    """Bytes of shared memory of the whole machine; 0 where that cannot be told."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return _sizes("/proc/meminfo")["Shmem"]
    return 0


def _sizes(path: str) -> dict[str, int]:
    """The lines of a file in /proc that end in kB, in bytes."""
    # Of bytes: a process may have any name, which is a line of its own.
    rows = re.findall(rb"^(\w+):\s+(\d+) kB$", Path(path).read_bytes(), re.MULTILINE)
    return {name.decode(): int(size) * 1024 for name, size in rows}


def counts_waiting() -> bool:
    """Whether `processor_seconds` can be told on this system."""
    return processor_seconds(os.getpid()) is not None


def processor_seconds(pid: int) -> tuple[float, float] | None:
    """Seconds that all threads of a process have run, and that its first one waited to run.

    None where that cannot be told: the process has ended, or the system does not count it.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # Nanoseconds running and waiting, and how often it ran: never, if nothing is counted.
        _, waited, runs = map(int, Path(f"/proc/{pid}/schedstat").read_bytes().split())
        # After the name, which may hold anything: fields 14 and 15 of the line, in clock ticks.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return (used, waited / 1e9) if runs else None
    return None


def installed_memory() -> int:
    """Bytes of this machine; enough for one submission where that cannot be told."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2 * MEMORY_LIMIT_BYTES


def memory_limit() -> int:
    """MEMORY_LIMIT_BYTES, or less where the machine has hardly more."""
    return min(MEMORY_LIMIT_BYTES, installed_memory() * 9 // 10)


def data_limit(limit: int) -> int:
    """For the system's own limit in bytes: above the watched one, as it counts whole stacks."""
    return limit * 5 // 4


def cpu_limit() -> int:
    """Seconds of CPU time, summed over all threads."""
    return CPU_LIMIT_S * (os.cpu_count() or 1)
