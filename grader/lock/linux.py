"""System calls through ctypes: those that Python's standard library does not have."""

from __future__ import annotations

import ctypes
import os

PR_SET_NO_NEW_PRIVS = 38
CAPGET = {"x86_64": 125, "aarch64": 90}
CAPSET = {"x86_64": 126, "aarch64": 91}


class Unavailable(Exception):
    """This kernel or machine lacks a layer. The message is the reason, in a few words."""


_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
    """Make a system call; `bytes` and ctypes buffers are passed by address.

    Raises:
        OSError: it failed.
    """
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    _libc.syscall.restype = ctypes.c_long
    return _check(_libc.syscall(ctypes.c_long(number), *values))


def prctl(option: int, value: int) -> None:
    """Set one property of this process.

    Raises:
        OSError: it failed.
    """
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
