"""What this project finds on Windows, as far as Linux can show it; for `PYTHONPATH`.

Each process whose PYTHONPATH names this folder gives the project's own modules `os`, `sys`,
`signal` and others as Windows has them: another `os.name` and `sys.platform`, and no POSIX-only
module or function. Other packages, and Python itself, keep theirs. Files below the folder that
$PYTHON_WINDOWS_FILES names follow the rules of Windows, for everything in the process: no reserved
name, no two names that differ in case alone, nothing replaced or removed while this process has it
open or mapped, and "\\r\\n" at the ends of lines in text that is written. Text that is opened
without naming its encoding is an error, since it would be cp1252 there.
"""

import builtins
import errno
import io
import os
import re
import shutil
import sys
import types
import warnings

OURS = {"homework", "grader", "lab", "bundle", "lock", "probe", "quickstart"}
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT = os.path.realpath(os.environ["PYTHON_WINDOWS_FILES"])

NO_MODULES = {
    "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"
}  # fmt: skip
# By module: what it lacks (an expression), and what is another there.
NO_NAMES = {
    "os": r"fork\w*|wait\w*|W[A-Z]+|kill(?=pg)\w+|(get|set)(e|re|res)?[ug]id|[gs]etp(gid|riority)|"
    r"getpgrp|[gs]et(sid|pgrp|groups|loadavg)|initgroups|sched_\w+|uname|f?chown|lchown|fchmod|"
    r"mk(fifo|nod)|f?statvfs|sysconf\w*|confstr\w*|nice|posix_\w+|register_at_fork|pipe2|"
    r"memfd_create|pidfd_open|p(read|write)v?|sendfile|openpty|ttyname|ctermid|tcgetpgrp|chroot|"
    r"fchdir|fdatasync|sync|get_blocking|set_blocking|\w+xattr|copy_file_range|splice|eventfd\w*|"
    r"O_(NOFOLLOW|CLOEXEC|NONBLOCK|DIRECTORY|PATH|SYNC|DSYNC|NOCTTY|ASYNC|DIRECT|NOATIME|TMPFILE)",
    "signal": r"SIG(HUP|KILL|QUIT|ALRM|USR[12]|CHLD|CONT|STOP|TSTP|PIPE|XFSZ|XCPU|WINCH)|alarm|"
    r"[gs]etitimer|pthread_\w+|sig(wait\w*|timedwait|pending)|siginterrupt|pause",
    "socket": r"AF_UNIX|SCM_RIGHTS|CMSG_\w+|recv_fds|send_fds",
    "select": r"poll|e?poll|EPOLL\w*|POLL\w*",
    "time": r"tzset|clock_[gs]ettime\w*|pthread_getcpuclockid",
    "ctypes": r"",
    "multiprocessing": r"",
    "sys": r"abiflags|getdlopenflags|setdlopenflags",
}
OTHERS = {
    "os": {"name": "nt"},
    "sys": {"platform": "win32", "getwindowsversion": lambda: (10, 0, 22631)},
    "multiprocessing": {"get_all_start_methods": lambda: ["spawn"]},
}


class AsOnWindows(types.ModuleType):
    """A module without what Windows lacks; all else, also what is set, is the real one's."""

    def __init__(self, module):
        name = module.__name__
        object.__setattr__(self, "_own", (module, re.compile(NO_NAMES[name]), OTHERS.get(name, {})))

    def __getattribute__(self, name):
        module, missing, others = object.__getattribute__(self, "_own")
        if name in others:
            return others[name]
        if missing.fullmatch(name):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on Windows")
        return getattr(module, name)

    def __setattr__(self, name, value):
        setattr(object.__getattribute__(self, "_own")[0], name, value)

    def __delattr__(self, name):
        delattr(object.__getattribute__(self, "_own")[0], name)


def locking(descriptor, mode, size):
    """What `msvcrt` has for locking a file: here it takes no lock."""


msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_LOCK, msvcrt.LK_UNLCK, msvcrt.locking = 2, 1, 0, locking
shown = {}
real_import = builtins.__import__


def is_ours(variables):
    """Whether a module's variables are those of one of the project's."""
    if not variables:
        return False
    name = variables.get("__package__") or variables.get("__name__") or ""
    if name.partition(".")[0] in OURS:
        return True
    file = str(variables.get("__file__", ""))
    return name in ("__main__", "") and file.startswith((PROJECT + os.sep, "grader/", "bundle.py"))


def import_as_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    if level or not is_ours(globals):
        return real_import(name, globals, locals, fromlist, level)
    top = name.partition(".")[0]
    if top in NO_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    if name == "msvcrt":
        return msvcrt
    module = real_import(name, globals, locals, fromlist, level)
    if top not in NO_NAMES or (fromlist and "." in name):
        return module
    return shown.setdefault(top, AsOnWindows(sys.modules[top]))


RESERVED = re.compile(
    r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[<>:"|?*\x00-\x1f].*|.*[. ]', re.IGNORECASE
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def below_root(path):
    """A path's full form if it is one below ROOT; else None."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    full = os.path.abspath(os.fsdecode(path))
    return full if full.startswith(ROOT + os.sep) else None


def check_name(path):
    for part in path[len(ROOT) + 1 :].split(os.sep):
        if RESERVED.fullmatch(part):
            raise OSError(errno.EINVAL, "no name for a file on Windows", path)
    folder, name = os.path.split(path)
    if os.path.isdir(folder) and not os.path.lexists(path):
        for other in real_listdir(folder):
            if other.casefold() == name.casefold():
                raise OSError(errno.EEXIST, f"the same file as {other} on Windows", path)


def check_closed(path):
    """Raise if this process has the file, or one below the folder, open or mapped."""
    held = set()
    for number in real_listdir("/proc/self/fd"):
        try:
            held.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    with real_open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        held |= {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
    for other in held:
        if other == path or other.startswith(path + os.sep):
            raise PermissionError(errno.EACCES, "in use by this process, says Windows", path)


busy = False


def hook(event, arguments):
    global busy
    if busy or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        return
    busy = True
    try:
        paths = [below_root(each) for each in arguments[:2]]
        if event == "open":
            if paths[0] and isinstance(arguments[2], int) and arguments[2] & WRITING:
                check_name(paths[0])
        elif event == "os.mkdir":
            if paths[0]:
                check_name(paths[0])
        elif event == "os.rename":
            if paths[1]:
                check_name(paths[1])
            for path in filter(None, paths):
                check_closed(path)
        elif paths[0]:
            check_closed(paths[0])
    finally:
        busy = False


def open_as_on_windows(
    file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **others
):
    writes = set(mode) & set("wax+") and "b" not in mode
    if writes and newline is None and below_root(file):
        newline = "\r\n"
    if encoding is None and "b" not in mode:
        encoding = io.text_encoding(None, 2)
    return real_open(file, mode, buffering, encoding, errors, newline, **others)


real_open, real_listdir = io.open, os.listdir
builtins.__import__ = import_as_on_windows
builtins.open = io.open = open_as_on_windows
shutil._use_fd_functions = False  # these remove files by names alone
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings(
    "error", category=EncodingWarning, module=r"(homework|grader|lab|bundle|lock|probe|__main__)\b"
)
sys.addaudithook(hook)
