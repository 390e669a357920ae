"""seccomp: a filter that allows a list of system calls, whoever makes them: Python, C, assembler.

Any other call fails with "operation not permitted". Where the kernel can (Linux 5.0), it is first
passed to the parent, which notes what was tried (`listen`) and sends the same answer.

After the kernel's include/uapi/linux/seccomp.h, filter.h and audit.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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

LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCH_AT = 0, 4
X32_CALLS = 0x40000000  # a second table of x86-64, unused but open
AF_UNIX = 1
CLONE_THREAD = 0x00010000
# A namespace (CLONE_NEW...), CLONE_PTRACE, CLONE_VFORK.
CLONE_MORE = 0x7E026000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# struct seccomp_notif: id, pid, flags, then seccomp_data: number, architecture, address, arguments
_NOTICE = struct.Struct("=QII" + "iIQ6Q")
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, value, error, flags
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND

# Is it a terminal, how wide, how much to read; blocking or not, inherited or not.
IOCTLS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Bits 8 to 15 of the calls of GPU drivers: NVIDIA's (F, and 0 for its memory), AMD's (K),
# the kernel's graphics (d), Windows' below Linux (G).
GPU_IOCTLS = tuple(ord(letter) << 8 for letter in "F\0KdG")
FCNTLS = (0, 1, 2, 3, 4, 1030, 1032)  # F_DUPFD to F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ
# Names of threads, and questions: PR_GET_... and a vector register's length.
PRCTLS = (15, 16, 2, 3, 21, 23, 30, 39, 42, 51, 64)
# PR_SET_VMA_ANON_NAME, by which shared memory could hide from `usage`. Allocators try it.
NAME_MEMORY = 0x53564D41
# What allocators say of a process's own memory; not merging, poisoning, or pushing to swap.
MADVICE = (0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 22, 23, 25, 102, 103)


def install(policy: Policy, deny_writing: bool) -> None:
    """Filter this thread's system calls, and those of the threads it starts later, for good.

    `deny_writing` denies opening any file for writing as well. `Unavailable` if it cannot be done.
    """
    machine = platform.machine()
    if machine not in MACHINES or sys.maxsize < 2**32:
        raise Unavailable(f"no table of system calls for {machine}")

    def load(denial: int, flags: int) -> int:
        judged = deny_writing, policy.gpus, policy.one_processor, policy.listener_fd
        code = program(machine, os.getpid(), denial, *judged)
        buffer = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
        return syscall(SECCOMP[machine], SET_MODE_FILTER, flags, header)

    if policy.listener_fd is not None:
        assert sys.platform == "linux"
        # Before the filter: asking what kind of socket it is would be denied.
        with socket.socket(fileno=policy.listener_fd) as channel:
            try:
                listener = load(NOTIFY, NEW_LISTENER)
            except OSError:
                pass  # an older kernel, or this process is watched in the same way already
            else:
                # Whoever holds the listener can let denied calls pass.
                socket.send_fds(channel, [b"x"], [listener])
                os.close(listener)
                return
    try:
        load(FAIL | errno.EPERM, 0)
    except OSError as error:
        raise Unavailable(f"refused by this kernel ({error.strerror})") from None


def program(machine: str, pid: int, denial: int, *judged: Any, **more: Any) -> bytes:
    """The filter as the kernel reads it.

    Args:
        machine: one of MACHINES.
        pid: the one process that signals may go to.
        denial: what a denied call gets: NOTIFY, or FAIL with an errno.
        judged, more: the other arguments of `_judges`.
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
    allow, missing = _line(RETURN, ALLOW), _line(RETURN, FAIL | errno.ENOSYS)
    rules = [(numbers, allow) for calls in syscalls.ALLOWED.values() for numbers in calls.values()]
    rules += [(numbers, missing) for numbers in syscalls.MISSING.values()]
    judges = _judges(pid, _line(RETURN, denial), *judged, **more)
    rules += [(syscalls.JUDGED[name], body) for name, body in judges.items()]
    for numbers, body in rules:
        if (number := numbers[column]) is not None:
            lines += _line(EQUAL, number, 0, len(body)) + body
    return b"".join(lines + _line(RETURN, denial))


def _judges(
    pid: int,
    deny: list[bytes],
    deny_writing: bool = False,
    gpus: bool = False,
    one_processor: bool = False,
    channel: int | None = None,
) -> dict[str, list[bytes]]:
    """Name of a call -> the instructions that look at its arguments and return.

    Args:
        deny: the instruction that denies it.
        deny_writing: deny opening any file for writing as well.
        gpus: allow the device calls of GPU drivers.
        one_processor: deny changing which processors a thread runs on.
        channel: the one descriptor that may be sent through.
    """
    allow = _line(RETURN, ALLOW)
    # Looking up a user asks a name service first, which is nothing to report.
    quiet = _line(RETURN, FAIL | errno.EPERM)
    unknown = _line(RETURN, FAIL | errno.EINVAL)  # as a kernel without names of memory answers

    def among(index: int, values: tuple[int, ...], then: list[bytes] = allow) -> list[bytes]:
        return _if_in(_argument(index), values, then)

    def opening(flags: int) -> list[bytes]:
        refuse = _argument(flags) + _line(ANY_BIT, WRITING, 0, 1) + deny if deny_writing else []
        return refuse + allow

    thread = _line(ANY_BIT, CLONE_MORE, 2, 0) + _line(ANY_BIT, CLONE_THREAD, 0, 1)
    driver = _if_in(_argument(1) + _line(AND, 0xFF00), GPU_IOCTLS, allow) if gpus else []
    # Reading a limit passes no new one, in either half of the pointer.
    reads = _argument(2) + _line(EQUAL, 0, 1, 0) + deny + _argument(2, 4) + _line(EQUAL, 0, 1, 0)
    judges = {
        "clone": _argument(0) + thread + allow,
        "open": opening(1),
        "openat": opening(2),
        "socket": among(0, (AF_UNIX,), quiet),
        "sendmsg": among(0, () if channel is None else (channel,)),
        "ioctl": among(1, IOCTLS) + driver,
        "fcntl": among(1, FCNTLS),
        "prctl": among(0, PRCTLS) + among(0, (NAME_MEMORY,), unknown),
        "madvise": among(2, MADVICE),
        "kill": among(0, (pid,)),
        "tgkill": among(0, (pid,)),
        "sched_setaffinity": among(0, () if one_processor else (0,)),
        "prlimit64": reads + deny + among(0, (0, pid)),
    }
    return {name: body + deny for name, body in judges.items()}


def _if_in(load: list[bytes], values: tuple[int, ...], then: list[bytes]) -> list[bytes]:
    """Return `then`'s verdict if what is loaded is one of the values; else go on behind it."""
    if not values:
        return []
    *others, last = values
    for place, value in enumerate(others):
        load = load + _line(EQUAL, value, len(others) - place, 0)
    return load + _line(EQUAL, last, 0, len(then)) + then


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> list[bytes]:
    """One instruction; the last two are how many to skip after a comparison."""
    return [struct.pack("=HBBI", code, if_true, if_false, value)]


def _argument(index: int, offset: int = 0) -> list[bytes]:
    """Load half of a call's argument: the lower 32 bits, or with an offset of 4 the upper."""
    return _line(LOAD, 16 + 8 * index + offset)


def listen(channel: socket.socket, note: Callable[[str], None]) -> None:
    """In the parent: note every denied call of the child and have it fail, until the child ends.

    Args:
        channel: what the child has sent its listener through, if it has one; closed here.
        note: called with what a denied call would have done, such as "open a socket".
    """
    assert sys.platform == "linux"
    with channel, contextlib.suppress(OSError):  # it has none
        channel.settimeout(0)  # it was sent before the child answered that it is locked
        for descriptor in socket.recv_fds(channel, 1, 1)[1]:
            threading.Thread(target=_serve, args=(descriptor, note), daemon=True).start()


def _serve(descriptor: int, note: Callable[[str], None]) -> None:
    assert sys.platform == "linux"
    column = MACHINES.index(platform.machine())
    names = {
        numbers[column]: what
        for what, calls in syscalls.DENIED.items()
        for numbers in calls.values()
    }
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    try:
        while not waiting.poll()[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            notice = bytearray(_NOTICE.size)
            # The caller may be killed at any moment: then there is nobody to answer.
            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptor, _RECEIVE, notice)
                number, *_, call = _NOTICE.unpack(notice)[:4]
                note(names.get(call, f"make system call {call}, which no model needs"))
                fcntl.ioctl(descriptor, _SEND, _ANSWER.pack(number, 0, -errno.EPERM, 0))
    finally:
        os.close(descriptor)
