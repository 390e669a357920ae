"""The lock: what a submission may do, put on its process before it is imported.

    layer            where               stops
    resource limits  POSIX               memory, file sizes, core files, CPU time
    Landlock         Linux from 5.13     reading outside a list of folders, any writing
    seccomp          Linux, x86-64/arm64 every system call but those on a list
    audit hook       everywhere          the same, from Python code, with a sentence that says so

`apply` puts them on in this order, in the child; `places` and `seccomp.listen` are the parent's.
Nothing here imports the rest of the grader, and only the standard library is used: the kernel's
interfaces are small and fixed, while the bindings on PyPI are pre-releases or need a C library.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_OPEN_FILES = 4096


@dataclass(frozen=True)
class Policy:
    """What a locked process may do."""

    folder: str  # the private folder; paths below it are named relative to it
    data_dir: str  # the folder with the expected answers, never readable
    readable: list[str]  # files and folders that may be read, resolved
    devices: list[str] = field(default_factory=list)  # that may be read and written
    gpus: bool = False  # whether some of these are GPUs
    memory_bytes: int | None = None  # of data, whatever part of it is in use; None for no limit
    cpu_s: int = 3600  # seconds of CPU time, summed over all threads
    one_processor: bool = False  # whether it has to stay on the processor that it was given
    listener_fd: int | None = None  # a socket that takes seccomp's notifications to the parent


def apply(policy: dict[str, Any], report: Callable[[str], None]) -> dict[str, list[str]]:
    """Lock this process, for good.

    Args:
        policy: the fields of a `Policy`.
        report: called with one sentence per kind of denial, as it happens.

    Returns:
        The layers that are `active`, and those that are `missing` with the reason.

    Raises:
        RuntimeError: Linux: something of this process would escape the lock; see `linux.check`.
    """
    from . import audit

    rules = Policy(**policy)
    layers: dict[str, list[str]] = {"active": [], "missing": []}
    if limit_resources(rules):
        layers["active"].append("resource limits")
    else:
        layers["missing"].append("resource limits: Windows has none")
    if sys.platform == "linux":
        _apply_kernel_layers(rules, **layers)
    else:
        layers["missing"].append(
            "Landlock and seccomp: they need Linux; what is left stops mistakes but no attack, so "
            "grade only what you would run yourself"
        )
    audit.install(rules, report)
    layers["active"].append("Python audit hook")
    return layers


def limit_resources(policy: Policy) -> bool:
    """Set the resource limits (POSIX); returns whether the system has such limits at all.

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


def _apply_kernel_layers(policy: Policy, active: list[str], missing: list[str]) -> None:
    from . import landlock, linux, seccomp

    linux.check(policy.listener_fd)
    linux.give_up_privileges()
    try:
        landlock.install(policy)
        active.append("Landlock")
    except linux.Unavailable as error:
        missing.append(f"Landlock: {error}")
    try:
        # Without Landlock it is left to seccomp to stop native code from writing.
        seccomp.install(policy, deny_writing=bool(missing))
        active.append("seccomp")
    except linux.Unavailable as error:
        missing.append(f"seccomp: {error}")
