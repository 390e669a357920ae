"""Before the lock: refuses a process with threads, children or open files that it would not reach.

Landlock and seccomp bind the thread that applies them and what it starts later, and neither looks
again at a file that is open already.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat


def check(kept: int | None) -> None:
    """Refuse to go on if this process has another thread, a child, an open socket or file.

    Args:
        kept: the one socket that may be open.

    Raises:
        RuntimeError: it has; the message says what.
        OSError: /proc is not mounted, so that nothing can be said.
    """
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"{threads} threads run already, which the lock would not reach")
    with contextlib.suppress(ChildProcessError):  # it has no children
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass  # one that has ended
        raise RuntimeError("a child process runs already, which the lock would not reach")
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the list's own, closed since
            if descriptor != kept and _leads_out(descriptor):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                raise RuntimeError(f"{path} is open already, which the lock would not reach")


def _leads_out(descriptor: int) -> bool:
    """Whether it is a socket, or a file that can be written. Pipes lead to the parent alone."""
    about = os.fstat(descriptor)
    if stat.S_ISSOCK(about.st_mode):
        return True
    writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    # A file without a name is this process's own memory, as good as deleted.
    named = stat.S_ISBLK(about.st_mode) or (stat.S_ISREG(about.st_mode) and about.st_nlink > 0)
    return writable and named
