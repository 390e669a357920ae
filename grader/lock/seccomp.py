"""seccomp: a filter that denies system calls, whoever makes them: Python, C or assembler.

A denied call fails with "operation not permitted". Where the kernel can (Linux 5.0), it is first
passed to the parent, which notes what was tried (`listener.py`) and sends the same answer.

After the kernel's include/uapi/linux/seccomp.h, filter.h and audit.h.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys
from typing import TYPE_CHECKING

from . import syscalls
from .linux import Unavailable, syscall

if TYPE_CHECKING:
    from . import Policy

MACHINES = ("x86_64", "aarch64")  # in the order of the tables in syscalls.py
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER = 1
NEW_LISTENER = 1 << 3

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
FAIL = 0x00050000  # plus the errno
KILL_PROCESS = 0x80000000

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCH_AT = 0, 4
X32_CALLS = 0x40000000  # a second table of x86-64, unused but open
AF_UNIX = 1
SOCKET = syscalls.DENIED["open a socket"]["socket"]
CLONE_THREAD = 0x00010000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(policy: Policy, deny_writing: bool) -> None:
    """Filter this thread's system calls, and those of the threads it starts later, for good.

    Args:
        deny_writing: deny opening any file for writing as well.

    Raises:
        Unavailable: no such filters here.
    """
    machine = platform.machine()
    if machine not in MACHINES or sys.maxsize < 2**32:
        raise Unavailable(f"no table of system calls for {machine}")
    if policy.listener_fd is not None:
        try:
            listener = _load(program(machine, os.getpid(), NOTIFY, deny_writing), NEW_LISTENER)
        except OSError:
            pass  # an older kernel, or this process is watched in the same way already
        else:
            _hand_over(listener, policy.listener_fd)
            return
    try:
        _load(program(machine, os.getpid(), FAIL | errno.EPERM, deny_writing), 0)
    except OSError as error:
        raise Unavailable(f"refused by this kernel ({error.strerror})") from None


def program(machine: str, pid: int, denial: int, deny_writing: bool) -> bytes:
    """The filter as the kernel reads it.

    Args:
        machine: one of MACHINES.
        pid: the one process that signals may go to.
        denial: what a denied call gets: NOTIFY, or FAIL with an errno.
        deny_writing: see `install`.
    """
    column = MACHINES.index(machine)
    lines = [
        *_line(LOAD, ARCH_AT),
        *_line(EQUAL, AUDIT_ARCH[machine], 1, 0),
        *_line(RETURN, KILL_PROCESS),
        *_line(LOAD, NUMBER_AT),
    ]
    if machine == "x86_64":
        lines += _line(AT_LEAST, X32_CALLS, 0, 1) + _line(RETURN, FAIL | errno.ENOSYS)

    def rule(numbers: syscalls.Numbers, body: list[bytes]) -> None:
        if (number := numbers[column]) is not None:
            lines.extend(_line(EQUAL, number, 0, len(body)) + body)

    deny = _line(RETURN, denial)
    allow = _line(RETURN, ALLOW)
    # Its flags lie in memory, which a filter cannot read; without it the C library uses clone.
    rule(syscalls.CLONE3, _line(RETURN, FAIL | errno.ENOSYS))
    rule(syscalls.CLONE, _argument(0) + _line(ANY_BIT, CLONE_THREAD, 0, 1) + allow + deny)
    for numbers in (syscalls.KILL, syscalls.TGKILL):
        rule(numbers, _argument(0) + _line(EQUAL, pid, 0, 1) + allow + deny)
    # Looking up a user asks a name service first, which is nothing to report.
    quiet = _line(RETURN, FAIL | errno.EPERM)
    rule(SOCKET, _argument(0) + _line(EQUAL, AF_UNIX, 0, 1) + quiet + deny)
    # Reading a limit passes no new one.
    new_limit = _argument(2) + _line(EQUAL, 0, 1, 0) + deny
    rule(syscalls.PRLIMIT64, new_limit + _argument(2, 4) + _line(EQUAL, 0, 1, 0) + deny + allow)
    if deny_writing:
        rule(syscalls.OPENAT2, _line(RETURN, FAIL | errno.ENOSYS))
        for numbers, flags in ((syscalls.OPEN, 1), (syscalls.OPENAT, 2)):
            rule(numbers, _argument(flags) + _line(ANY_BIT, WRITING, 0, 1) + deny + allow)
    for calls in syscalls.DENIED.values():
        for numbers in calls.values():
            rule(numbers, deny)
    return b"".join(lines + allow)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> list[bytes]:
    """One instruction; the last two are how many to skip after a comparison."""
    return [struct.pack("=HBBI", code, if_true, if_false, value)]


def _argument(index: int, offset: int = 0) -> list[bytes]:
    """Load half of a call's argument: the lower 32 bits, or with an offset of 4 the upper."""
    return _line(LOAD, 16 + 8 * index + offset)


def _load(code: bytes, flags: int) -> int:
    import ctypes

    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    return syscall(SECCOMP[platform.machine()], SET_MODE_FILTER, flags, header)


def _hand_over(listener: int, channel: int) -> None:
    """Send the listener to the parent; whoever holds it can let denied calls pass."""
    import socket

    with socket.socket(fileno=channel) as end:
        socket.send_fds(end, [b"x"], [listener])
    os.close(listener)
