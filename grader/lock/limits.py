"""Resource limits and privileges: what a process gives up by itself."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Policy

MAX_OPEN_FILES = 4096
CAP_DAC_READ_SEARCH = 1 << 2


def apply(policy: Policy) -> bool:
    """Set the resource limits; returns whether the system has such limits at all.

    There is none on the number of processes: it would count every process of the user, and not
    apply to root. Processes are stopped by seccomp, threads are counted by the parent.
    """
    try:
        import resource
    except ImportError:
        return False
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


def give_up_privileges() -> None:
    """Linux: no privileges, and none to be gained by a program."""
    from . import linux

    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    # Root may go on reading, as its packages may be somebody else's, but cannot mount, trace,
    # change owners or raise limits.
    machine = os.uname().machine
    if machine in linux.CAPSET and sys.byteorder == "little":
        version_3, this_process = 0x20080522, 0
        header, held = struct.pack("=Ii", version_3, this_process), bytearray(24)
        linux.syscall(linux.CAPGET[machine], header, (ctypes.c_char * 24).from_buffer(held))
        kept = struct.unpack_from("=I", held, 4)[0] & CAP_DAC_READ_SEARCH
        linux.syscall(linux.CAPSET[machine], header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))
