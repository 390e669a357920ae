"""Resource limits (POSIX)."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Policy

MAX_OPEN_FILES = 4096


def apply(policy: Policy) -> bool:
    """Set the resource limits; returns whether the system has such limits at all.

    There is none on the number of processes: it would count every process of the user, and not
    apply to root. Processes are stopped by seccomp, threads are counted by the parent.
    """
    if sys.platform == "win32":
        return False
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: policy.cpu_s,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    # Not RLIMIT_AS: address space that is only reserved (threads' arenas, GPUs) costs nothing.
    if policy.memory_bytes:
        limits[resource.RLIMIT_DATA] = policy.memory_bytes
    for number, value in limits.items():
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(number, (value, value))
        except (OSError, ValueError):
            if sys.platform != "darwin":  # which refuses some
                raise
    # A write past RLIMIT_FSIZE is then an OSError, not the end of the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return True
