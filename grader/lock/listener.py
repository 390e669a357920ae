"""The parent's end of seccomp: learns of every denied system call and has it fail."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import threading
from collections.abc import Callable

from . import syscalls
from .seccomp import MACHINES

# struct seccomp_notif: id, pid, flags, then seccomp_data: number, architecture, address, arguments
_NOTICE = struct.Struct("=QII" + "iIQ6Q")
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, value, error, flags
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND


def listen(channel: socket.socket, note: Callable[[str], None]) -> threading.Thread | None:
    """Answer the notifications of the process at the other end until it ends.

    Args:
        channel: what the process sends its listener through; closed here.
        note: called with what a denied call would have done, such as "open a socket".

    Returns:
        The thread that does it, or None if the process sent no listener.
    """
    with channel:
        channel.settimeout(0)  # it was sent before the process answered that it is locked
        try:
            descriptors = socket.recv_fds(channel, 1, 1)[1]
        except OSError:
            return None
    if not descriptors:
        return None
    thread = threading.Thread(target=_serve, args=(descriptors[0], note), daemon=True)
    thread.start()
    return thread


def _serve(descriptor: int, note: Callable[[str], None]) -> None:
    names = _names()
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


def _names() -> dict[int, str]:
    """Number of a system call -> what it would do."""
    column = MACHINES.index(platform.machine())
    calls = ((what, n) for what, group in syscalls.DENIED.items() for n in group.values())
    found = ((numbers[column], what) for what, numbers in calls)
    return {number: what for number, what in found if number is not None}
