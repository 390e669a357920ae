"""Landlock: the process may read the listed folders and write nowhere.

After the kernel's include/uapi/linux/landlock.h and Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

from .linux import Unavailable, syscall

if TYPE_CHECKING:
    from . import Policy

# The same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION = 1
PATH_BENEATH = 1

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
# Rights that each version of the interface knows: from executing (bit 0) upwards.
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NET_BIND_AND_CONNECT_TCP = 0b11  # from version 4 on
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # from version 6 on


def install(policy: Policy) -> None:
    """Restrict this thread, and those it starts later, for good; or raise `Unavailable`."""
    try:
        known = syscall(CREATE_RULESET, None, 0, GET_VERSION)
    except OSError as error:
        reason = "switched off" if error.errno == errno.EOPNOTSUPP else "not in this kernel"
        raise Unavailable(reason) from None
    handled = (1 << RIGHTS[min(known, max(RIGHTS))]) - 1
    # A kernel refuses a longer structure than it knows, unless the rest is zero.
    attributes = struct.pack("=Q", handled)
    if known >= 4:
        attributes += struct.pack("=Q", NET_BIND_AND_CONNECT_TCP)
    if known >= 6:
        attributes += struct.pack("=Q", SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = syscall(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        # Nothing may be executed: mapping a library needs only the right to read it.
        for path in policy.readable:
            _allow(ruleset, path, (READ_FILE | READ_DIR) & handled)
        for path in policy.devices:
            _allow(ruleset, path, (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV) & handled)
        syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    assert sys.platform == "linux"
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ~READ_DIR
        rule = struct.pack("=Qi", rights, descriptor)
        syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
