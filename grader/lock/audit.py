"""The Python audit hook: says in a sentence what is denied, before the kernel has to.

It sees what Python code does through the standard library. Code that calls C functions by itself
goes past it, and on Linux into the kernel's layers.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import syscalls

if TYPE_CHECKING:
    from . import Policy

MAX_REPORTED = 1000
NOT_ALLOWED = "not allowed in grading"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NULL = {os.devnull, "/dev/null"}

_PROCESSES = (
    "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "os.startfile",
    "os.startfile/2", "pty.spawn", "subprocess.Popen", "_winapi.CreateProcess",
)  # fmt: skip
_SOCKETS = ("socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
            "socket.getnameinfo")  # fmt: skip
_FILES = {
    "os.remove": "delete", "os.rmdir": "delete", "os.rename": "rename", "os.truncate": "write",
    "os.link": "link", "os.symlink": "link",
    "os.chmod": "change the rights of", "os.lchmod": "change the rights of",
    "os.chown": "change the owner of", "os.lchown": "change the owner of",
    "os.chflags": "change the flags of", "os.lchflags": "change the flags of",
    "os.utime": "change the time of",
    "os.setxattr": "change the attributes of", "os.removexattr": "change the attributes of",
}  # fmt: skip
# Libraries try these by themselves and work without them: denied, but not reported.
_HABITS = re.compile(
    r"start a process \((fc-list|lscpu|uname)\)|write tmp/fontlist-[^/]*\.matplotlib-lock"
)
_REGISTRY = ("winreg.CreateKey", "winreg.DeleteKey", "winreg.DeleteValue", "winreg.SetValue")

# Arguments of an event -> what it would do, if denied.
Rule = Callable[[tuple[Any, ...]], str | None]


def install(policy: Policy, report: Callable[[str], None]) -> None:
    """Deny by PermissionError what the policy does not allow, for good.

    `report` is called once with each new sentence, before the submission knows of it.
    """
    rules = _rules(policy)
    reported: set[str] = set()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        rule = rules.get(event)
        if rule is None or (action := rule(arguments)) is None:
            return
        sentence = f"tried to {action}: {NOT_ALLOWED}"
        place = _place(policy.folder)
        line = sentence + place
        if line not in reported and len(reported) < MAX_REPORTED and not _HABITS.fullmatch(action):
            reported.add(line)
            report(line)
        error = PermissionError(sentence)
        error.errno = errno.EACCES
        raise error

    sys.addaudithook(hook)


def _rules(policy: Policy) -> dict[str, Rule]:
    files = _Files(policy)
    own = os.getpid()
    rules: dict[str, Rule] = {
        "open": files.open,
        "os.listdir": files.read,
        "os.scandir": files.read,
        "os.mkdir": files.make_folder,
        "sqlite3.connect": files.database,
        "os.kill": lambda a: None if a[0] == own else syscalls.SIGNAL_OTHERS,
        "os.killpg": lambda a: syscalls.SIGNAL_OTHERS,
        "resource.setrlimit": lambda a: syscalls.CHANGE_LIMITS,
        "resource.prlimit": lambda a: syscalls.CHANGE_LIMITS if a[2] else None,
    }
    rules |= dict.fromkeys(_PROCESSES, _process)
    rules |= dict.fromkeys(_SOCKETS, lambda a: "open a socket")
    rules |= dict.fromkeys(_LOOKUPS, lambda a: f"look up an address ({_text(a[0])})")
    rules |= dict.fromkeys(_REGISTRY, lambda a: "change the registry")
    for event, verb in _FILES.items():
        rules[event] = lambda a, verb=verb: f"{verb} {files.name(a[0])}"
    return rules


def _process(arguments: tuple[Any, ...]) -> str:
    """subprocess.Popen and os.system pass the command; what forks passes nothing."""
    command = next((a for a in arguments[1::-1] if isinstance(a, str | bytes | list | tuple)), "")
    if isinstance(command, list | tuple):
        command = command[0] if command else ""
    name = os.path.basename(_text(command).split(" ")[0])
    return f"{syscalls.START_PROCESS} ({name})" if name else syscalls.START_PROCESS


class _Files:
    """Which files may be opened, and how they are called in a sentence."""

    def __init__(self, policy: Policy) -> None:
        self._folder = policy.folder + os.sep
        self._data = _normal(policy.data_dir)
        self._roots = tuple(_normal(path) for path in policy.readable)
        self._below = tuple(root + os.sep for root in self._roots)
        self._devices = frozenset(policy.devices)

    def open(self, arguments: tuple[Any, ...]) -> str | None:
        path, mode, flags = arguments
        if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
            return None
        path = os.fsdecode(path)
        if path in _NULL or path in self._devices:
            return None
        writes = isinstance(flags, int) and flags & _WRITING
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            return f"write {self.name(path)}"
        return self._reading(path)

    def read(self, arguments: tuple[Any, ...]) -> str | None:
        path = arguments[0]
        return None if path is None or isinstance(path, int) else self._reading(os.fsdecode(path))

    def database(self, arguments: tuple[Any, ...]) -> str | None:
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike) or ":memory:" in os.fsdecode(path):
            return None
        return f"write {self.name(path)}"

    def make_folder(self, arguments: tuple[Any, ...]) -> str | None:
        path = os.fsdecode(arguments[0])
        # os.makedirs(exist_ok=True) tries first: a habit that changes nothing.
        if os.path.isdir(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return f"make {self.name(path)}"

    def name(self, path: object) -> str:
        """A path as the submission would know it."""
        if not isinstance(path, str | bytes | os.PathLike):
            return "a file"
        return os.path.abspath(os.fsdecode(path)).removeprefix(self._folder)

    def _reading(self, path: str) -> str | None:
        # Links are followed only where a path could lead elsewhere: a submission can make
        # none, and looking at every part of every path would slow down imports.
        full = os.path.abspath(path)
        plain = ".." not in path and not full.startswith("/proc/")
        if plain and self._inside(os.path.normcase(full)):
            return None
        real = _normal(full if plain else path)
        if self._inside(real) or not os.path.lexists(path):
            return None
        if real == self._data or real.startswith(self._data + os.sep):
            return f"look at the expected answers ({self.name(path)})"
        return f"read {self.name(path)}, which is none of its files"

    def _inside(self, path: str) -> bool:
        return path in self._roots or path.startswith(self._below)


def _normal(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _text(value: object) -> str:
    if isinstance(value, bytes | os.PathLike):
        value = os.fsdecode(value)
    return value[:200] if isinstance(value, str) else ""


def _place(folder: str) -> str:
    """The submission's innermost line on the stack, as " (file, line N)"."""
    own = folder + os.sep
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    if frame is None:
        return ""
    return f" ({os.path.relpath(frame.f_code.co_filename, folder)}, line {frame.f_lineno})"
