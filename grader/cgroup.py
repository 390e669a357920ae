"""A cgroup (version 2) around a submission's process, where this user may make one (Linux).

The kernel then counts memory and threads exactly. A cgroup with processes in it cannot hand its
controllers down, so the new one lies beside the grader's own. Root may make it, and a user in a
session that systemd has delegated, such as a desktop's terminal.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_PREFIX = "grader-"


def make(pid: int, memory_bytes: int, threads: int) -> Path | None:
    """Put a process into a new cgroup that limits it; its folder, or None if none can be made."""
    try:
        own = ROOT / OWN.read_text("utf-8").rpartition("0::")[2].strip().lstrip("/")
        place = ROOT if own == ROOT else own.parent
        controllers = (place / "cgroup.subtree_control").read_text("utf-8").split()
        if not {"memory", "pids"} <= {*controllers}:
            return None
        for left in place.glob(f"{_PREFIX}*"):  # of a grader that was killed
            remove(left)
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
        remove(folder)
        return None
    return folder


def ran_out_of_memory(folder: Path) -> bool:
    """Whether the kernel has ended a process of the cgroup because of the limit."""
    with contextlib.suppress(OSError):
        events = (folder / "memory.events").read_text("utf-8")
        return bool(re.search(r"^oom_kill [1-9]", events, re.MULTILINE))
    return False


def remove(folder: Path) -> None:
    """Remove a cgroup; one with a live process in it stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()
