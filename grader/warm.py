"""A share of the machine where the packages are imported once for all submissions: `zygote`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from . import packages
from .errors import GraderError
from .private import private_folder
from .process import IMPORT_LIMIT_S, START_LIMIT_S, environment
from .slot import Process, Share

ZYGOTE = Path(__file__).with_name("zygote.py")
MAX_MESSAGE = 1 << 20  # as in `zygote`


class Forked:
    """A process of the zygote's, as `subprocess.Popen` has one of its own.

    Args:
        pid: its number.
        control: where the zygote says that it has ended.
        pipes: its standard input, output and error, unbuffered as Popen's for reading bytes.
    """

    def __init__(self, pid: int, control: socket.socket, pipes: list[IO[bytes]]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self._control = control
        self._lock = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, minus a signal's number, or None if it has not ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        if (code := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired("a submission", timeout or 0)
        return code

    def kill(self) -> None:
        """End it; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self._code is None and select.select([self._control], [], [], timeout)[0]:
                self._code = _receive(self._control)["code"]
            return self._code


class WarmShare(Share):
    """A share whose processes are forked from one that has the packages imported (Linux)."""

    def __init__(self, number: int, memory_bytes: int, stop: threading.Event) -> None:
        super().__init__(number, memory_bytes, stop)
        self._open = contextlib.ExitStack()
        self._control: socket.socket
        self._last: Forked | None = None

    def __enter__(self) -> WarmShare:
        try:
            self._start_zygote()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(
        self,
        script: Path,
        folder: Path,
        environment: Mapping[str, str],
        channel: socket.socket | None,
    ) -> tuple[Process, int | None]:
        if self._last:
            self._release(self._last)
        ends = [os.pipe() for _ in range(3)]
        # The submission reads the first pipe, and writes into the others.
        theirs = [ends[0][0], ends[1][1], ends[2][1]]
        ours = [ends[0][1], ends[1][0], ends[2][0]]
        try:
            request = json.dumps({"folder": str(folder), "environment": dict(environment)})
            files = [*theirs, *([channel.fileno()] if channel else [])]
            socket.send_fds(self._control, [request.encode()], files)
            reply = self._reply(START_LIMIT_S)
        except BaseException:
            for file in ours:
                os.close(file)
            raise
        finally:
            for file in theirs:
                os.close(file)
        pipes = [os.fdopen(ours[0], "wb", buffering=0), *(os.fdopen(f, "rb") for f in ours[1:])]
        self._last = Forked(reply["pid"], self._control, pipes)
        return self._last, reply["channel"]

    def _start_zygote(self) -> None:
        """Start it, and wait until it has imported the packages."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._open.callback(ours.close)
        folder = self._open.enter_context(private_folder())
        with theirs:
            process = subprocess.Popen(
                [sys.executable, str(ZYGOTE), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment(folder, locked=True),
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._open.callback(process.wait)
        self._open.callback(process.kill)  # before it is waited for
        self._control = ours
        order = {"processor": self.processor, "packages": packages.BEFORE_THE_LOCK}
        ours.send(json.dumps(order).encode())
        self._reply(IMPORT_LIMIT_S)

    def _release(self, process: Forked) -> None:
        """Let the zygote forget a process, whose number may then be another's."""
        process.kill()
        try:
            process.wait(timeout=START_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise GraderError("a submission's process cannot be ended") from None
        self._control.send(b"{}")
        self._last = None

    def _reply(self, limit: float) -> dict[str, Any]:
        """The zygote's next message.

        Raises:
            GraderError: it says that it cannot work, or says nothing for `limit` seconds.
            Stopped: the grading is to end.
        """
        deadline = time.monotonic() + limit
        while not select.select([self._control], [], [], 0.2)[0]:
            self.check()
            if time.monotonic() > deadline:
                raise GraderError(f"{sys.executable} was not ready after {limit:g} s")
        reply = _receive(self._control)
        if "error" in reply:
            raise GraderError(f"{sys.executable} cannot start submissions: {reply['error']}")
        return reply


def _receive(control: socket.socket) -> dict[str, Any]:
    with contextlib.suppress(ConnectionError):
        if line := control.recv(MAX_MESSAGE):
            return json.loads(line)
    raise GraderError("the process that starts submissions was ended (out of memory?)")
