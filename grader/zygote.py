"""Imports the environment's packages once, and forks a process for each submission (Linux).

Run as a script, with the number of a Unix socket (SOCK_SEQPACKET) as its argument. Each message is
a JSON object. It is told which packages to import and which processor to use, and answers {}. Then,
for one submission after the other:

    request  {"folder": "/tmp/grader-x", "environment": {...}}, with 3 or 4 open files
    reply    {"pid": 7, "channel": 3}     its process, and the number of the fourth file there
    reply    {"code": -9}                 how the process ended: its exit code, or minus a signal
    request  {}                           nobody uses the process's number any more

or {"error": "..."} in place of a reply. The forked process goes on as `child` would: it locks
itself before the submission's first line. So no code of a submission runs here, and each submission
starts from the same state, in its own copy of this process's memory. Before each fork it is checked
that nothing else would be shared: no thread, no child process, no open file, and no memory that
several processes can write.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import child
from lock import alone

MAX_MESSAGE = 1 << 20  # bytes


def main() -> None:
    """Serve until the other end closes the socket."""
    child.end_with_parent()
    # Not for the packages: this folder's modules have common names.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(control.recv(MAX_MESSAGE))
    # Before the packages are imported, since some count the processors.
    os.sched_setaffinity(0, {order["processor"]})
    try:
        child.import_packages(order["packages"])
        _check_alone(control)
    except BaseException as error:
        _send(control, error=child.describe(error, "")["message"])
        return
    gc.collect()
    gc.freeze()  # a collection in a forked process then copies fewer pages
    _send(control)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer
        while _serve(control):
            pass


def _serve(control: socket.socket) -> bool:
    """Start one submission and wait for its end; False when there are no more."""
    line, files, *_ = socket.recv_fds(control, MAX_MESSAGE, 4)
    if not line:
        return False
    try:
        _check_alone(control, files)
        pid = os.fork()
    except (RuntimeError, OSError) as error:
        _send(control, error=str(error))
        return True
    if pid == 0:
        control.detach()
        _become_child(json.loads(line), files)
    for file in files:
        os.close(file)
    _send(control, pid=pid, channel=3 if len(files) > 3 else None)
    # Until nobody uses its number, it stays there as a zombie: nobody else can get the number.
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    _send(control, code=ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
    control.recv(MAX_MESSAGE)
    os.waitpid(pid, 0)
    return True


def _become_child(request: dict[str, Any], files: list[int]) -> None:
    """In the forked process: be what `child.py` is when it is started by itself."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(len(files), os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "lock"]:
        del sys.modules[name]
    sys.modules["__main__"] = sys.modules.pop("child")
    child.main()


def _check_alone(control: socket.socket, received: Sequence[int] = ()) -> None:
    """Refuse to fork if the two processes would share more than their pipes.

    Args:
        received: files for the forked process.

    Raises:
        RuntimeError: the message says what they would share.
    """
    own = (0, 1, 2, control.fileno(), *received)
    alone.check(*own)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in own:
            with contextlib.suppress(FileNotFoundError):  # the list's own, closed since
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                raise RuntimeError(f"{path} is open already, which submissions would share")
    with open("/proc/self/maps") as maps:
        if shared := [line for line in maps if line.split()[1][1::2] == "ws"]:
            raise RuntimeError(f"memory is shared with submissions: {shared[0].strip()}")


def _send(control: socket.socket, **reply: Any) -> None:
    control.send(json.dumps(reply).encode())


if __name__ == "__main__":
    main()
