"""What a submission's process may use of the machine, and what it uses (Linux)."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

MEMORY_LIMIT_BYTES = 8_000_000_000
THREAD_LIMIT = max(512, 8 * (os.cpu_count() or 1))
CPU_LIMIT_S = 1800 * (os.cpu_count() or 1)  # of all threads; ends a child whose parent has gone
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PREFIX = "grader-"  # of the cgroups' names
FIRST_THREAD_ENDED = "ended its first thread and was stopped"
UNREADABLE = "could not be checked against its limits and was stopped"
OF_AN_END = (FIRST_THREAD_ENDED, UNREADABLE)


def excess(pid: int, shared_before: int | None, limit: int) -> str | None:
    """Which limit a process is over, as a message; None if it is over none, or has ended.

    A reading that fails counts against the process. One that is just ending can look like one of
    `OF_AN_END` for a moment.

    Memory of a shared mapping without a file stays in use when its pages are given back, or when
    all but one page is unmapped. The counts of the process leave it out; the count of the machine
    has it.

    Args:
        shared_before: what `shared_memory` was before the process could use any; None if a cgroup
            counts the process's own.
        limit: of memory, in bytes.
    """
    if sys.platform != "linux":
        return None
    try:
        threads = _threads(pid)
        if threads and _memory(pid, threads, shared_before) > limit:
            return over_memory(limit)
    except (OSError, ValueError):
        return UNREADABLE
    if len(threads) > THREAD_LIMIT:
        return f"started over {THREAD_LIMIT} threads and was stopped"
    return FIRST_THREAD_ENDED if threads and pid not in threads else None


def over_memory(limit: int) -> str:
    """The message for a process that used more than `limit` bytes."""
    return f"used over {limit / 1e9:.1f} GB of memory and was stopped"


def _threads(pid: int) -> dict[int, dict[str, int]]:
    """The threads of a process that have not ended, the first one first, with their `_sizes`."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            status = Path(f"/proc/{pid}/task/{name}/status").read_bytes()
            if not re.search(rb"^State:\s+[ZX]", status, re.MULTILINE):
                found[int(name)] = _sizes(status)
    return found


def _memory(pid: int, threads: dict[int, dict[str, int]], shared_before: int | None) -> int:
    """Bytes that a process has in use; an OSError or ValueError if they cannot be told."""
    # All threads have the same memory, but for one that is ending, which has none.
    for thread, sizes in threads.items():
        if "VmRSS" in sizes:
            used = sizes["VmRSS"] + sizes.get("VmPTE", 0) + sizes.get("VmSwap", 0)
            maps = Path(f"/proc/{pid}/task/{thread}/maps").read_bytes()
            if not maps:
                raise ValueError("no list of mappings")
            if mapped := shared_mappings(maps):
                if shared_before is not None:
                    mapped = max(mapped, shared_memory() - shared_before)
                used += mapped - sizes.get("RssShmem", 0)
            return used
    raise ValueError("no thread has memory")


def shared_mappings(maps: bytes) -> int:
    """Bytes of the shared mappings without a file in the text of a /proc/PID/maps.

    The kernel calls them "/dev/zero (deleted)", or by a name that the process has given.
    """
    rows = (row for row in maps.splitlines() if row.split()[1][3:] == b"s")
    found = [row for row in rows if row.endswith(b"(deleted)") or b" [anon_shmem:" in row]
    ends = (row.split()[0].split(b"-") for row in found)
    return sum(int(end, 16) - int(start, 16) for start, end in ends)


def shared_memory() -> int:
    """Bytes of shared memory of the whole machine (Linux); OSError if they cannot be told."""
    sizes = _sizes(Path("/proc/meminfo").read_bytes())
    if "Shmem" not in sizes:
        raise OSError("/proc/meminfo: no line 'Shmem', so that memory cannot be watched")
    return sizes["Shmem"]


def _sizes(text: bytes) -> dict[str, int]:
    """The lines of a file in /proc that end in kB, in bytes."""
    # Of bytes: a process may have any name, which is a line of its own.
    rows = re.findall(rb"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name.decode(): int(size) * 1024 for name, size in rows}


def usable_memory() -> int:
    """Nine tenths of this machine's bytes; enough for one submission where that is not known."""
    installed = 2 * MEMORY_LIMIT_BYTES
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return installed * 9 // 10


def memory_limit() -> int:
    """MEMORY_LIMIT_BYTES, or less where the machine has hardly more."""
    return min(MEMORY_LIMIT_BYTES, usable_memory())


class Stopped(Exception):
    """The user stopped the grading, by Ctrl-C for example; there is no result."""


@dataclass(frozen=True)
class Slot:
    """What one submission may use of the machine; all of it by default."""

    processor: int | None = None  # the number of the only one that it may use
    memory_bytes: int = field(default_factory=memory_limit)  # in use
    stop: threading.Event = field(default_factory=threading.Event)  # set to end the grading


def make_cgroup(pid: int, memory_bytes: int, threads: int) -> Path | None:
    """Put a process into a new cgroup (version 2); its folder, or None if none can be made.

    The kernel then counts memory and threads exactly. A cgroup with processes in it cannot hand its
    controllers down, so the new one lies beside the grader's own. Root may make it, and a user in a
    session that systemd has delegated, such as a desktop's terminal.
    """
    try:
        own = CGROUPS / OWN_CGROUP.read_text("utf-8").rpartition("0::")[2].strip().lstrip("/")
        place = CGROUPS if own == CGROUPS else own.parent
        controllers = (place / "cgroup.subtree_control").read_text("utf-8").split()
        if not {"memory", "pids"} <= {*controllers}:
            return None
        for left in place.glob(f"{_PREFIX}*"):  # of a grader that was killed
            remove_cgroup(left)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError:
        return None
    limits = {"memory.max": memory_bytes, "memory.swap.max": 0, "memory.oom.group": 1}
    try:
        for name, value in {**limits, "pids.max": threads, "cgroup.procs": pid}.items():
            # Where the kernel does not count swap, there is no such file.
            if name != "memory.swap.max" or (folder / name).exists():
                (folder / name).write_text(str(value), "utf-8")
    except OSError:
        remove_cgroup(folder)
        return None
    return folder


def ran_out_of_memory(folder: Path) -> bool:
    """Whether the kernel has ended a process of the cgroup because of the limit."""
    with contextlib.suppress(OSError):
        events = (folder / "memory.events").read_text("utf-8")
        return bool(re.search(r"^oom_kill [1-9]", events, re.MULTILINE))
    return False


def remove_cgroup(folder: Path) -> None:
    """Remove a cgroup; one with a live process in it stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()
