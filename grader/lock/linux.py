"""What Linux alone has: the check before the lock, giving privileges up, raw system calls.

Landlock and seccomp bind the thread that applies them and what it starts later, and neither looks
again at a file that is open already: `check` refuses a process with something out of their reach.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import stat
import struct
import sys

CAPGET = {"x86_64": 125, "aarch64": 90}
CAPSET = {"x86_64": 126, "aarch64": 91}
CAP_DAC_READ_SEARCH = 1 << 2
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Unavailable(Exception):
    """This kernel or machine lacks a layer. The message is the reason, in a few words."""


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that the standard library does not have; OSError if it fails.

    `bytes` and ctypes buffers are passed by address.
    """
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments)]
    return _checked(_libc.syscall(*values))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def check(kept: int | None) -> None:
    """Refuse to go on if this process has another thread, a child, an open socket or file.

    Args:
        kept: the one socket that may be open.

    Raises:
        RuntimeError: it has; the message says what.
        OSError: /proc is not mounted, so that nothing can be said.
    """
    assert sys.platform == "linux"
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
    assert sys.platform == "linux"
    about = os.fstat(descriptor)
    if stat.S_ISSOCK(about.st_mode):
        return True
    writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    # A file without a name is this process's own memory, as good as deleted.
    named = stat.S_ISBLK(about.st_mode) or (stat.S_ISREG(about.st_mode) and about.st_nlink > 0)
    return writable and named


def give_up_privileges() -> None:
    """Have no privileges, and none to be gained by a program.

    Root may go on reading, as its packages may be somebody else's, but cannot mount, trace, change
    owners or raise limits.
    """
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))
    assert sys.platform == "linux"
    machine = os.uname().machine
    if machine in CAPSET and sys.byteorder == "little":
        version_3, this_process = 0x20080522, 0
        header, held = struct.pack("=Ii", version_3, this_process), bytearray(24)
        syscall(CAPGET[machine], header, (ctypes.c_char * 24).from_buffer(held))
        kept = struct.unpack_from("=I", held, 4)[0] & CAP_DAC_READ_SEARCH
        syscall(CAPSET[machine], header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))
