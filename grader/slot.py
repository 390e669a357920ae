"""Where a submission's process runs: what it may use of the machine, and how its time counts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import usage
from .errors import GraderError


class Stopped(Exception):
    """The user stopped the grading, by Ctrl-C for example; there is no result."""


class Slot:
    """What one submission may use of the machine: all of it, and its time is the clock's."""

    processor: int | None = None  # the number of the only one that it may use

    def __init__(self, memory_bytes: int | None = None) -> None:
        self.memory_bytes = memory_bytes or usage.memory_limit()  # that its process may have in use

    def clock(self, pid: int) -> float:
        """Seconds that have passed for a process, from an arbitrary start."""
        return time.monotonic()

    def check(self) -> None:
        """Raise `Stopped` if the grading is to end now."""

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        channel: socket.socket | None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a folder; GraderError if none can be started.

        Args:
            channel: a socket that it inherits under the same number, or None.
        """
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
                # A group of its own: Ctrl-C reaches the parent alone, and the child is ended
                # together with whatever it started.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                pass_fds=[channel.fileno()] if channel else [],
            )
        except OSError as error:
            raise GraderError(f"no process could be started: {error.strerror}") from None
        if sys.platform == "linux" and self.processor is not None:
            os.sched_setaffinity(process.pid, {self.processor})
        return process


class ClassSlot(Slot):
    """One processor and a part of the memory, while other submissions are graded beside this one.

    The processors are given out in turn by the slot's number. The time that the process was ready
    to run while others had its processor does not count. So a busy neighbour costs no time;
    computing and sleeping do. `stop` is set when the grading is to end.
    """

    def __init__(self, number: int, memory_bytes: int, stop: threading.Event) -> None:
        super().__init__(memory_bytes)
        if sys.platform == "linux":
            processors = sorted(os.sched_getaffinity(0))
            self.processor = processors[number % len(processors)]
        self._stop = stop
        # The last reading: process id, clock, seconds of processor time, seconds of waiting.
        self._seen = (0, 0.0, 0.0, 0.0)
        self._lost = 0.0

    def clock(self, pid: int) -> float:
        now, found = time.monotonic(), usage.processor_seconds(pid)
        if self._seen[0] != pid:
            self._seen, self._lost = (pid, now, 0.0, 0.0), 0.0
        if found:
            _, then, used_before, waited_before = self._seen
            used, waited = found
            # Threads of its own that keep it waiting use the processor meanwhile.
            free = max(0.0, now - then - (used - used_before))
            self._lost += min(waited - waited_before, free)
            self._seen = (pid, now, used, waited)
        return now - self._lost

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped
