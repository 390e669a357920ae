"""The parent's end of the child process: requests, time limits and the end of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import interpreter, usage
from .errors import GraderError, SubmissionError
from .interpreter import Interpreter
from .lock import places
from .replies import DENIED, MAX_REPLY_BYTES, read_denial, read_reply
from .usage import Slot, Stopped

MAX_DENIALS = 100  # kept, each once
MAX_OUTPUT_BYTES = 64_000  # of its prints; the last ones are kept
START_LIMIT_S = 60.0  # for the lock
END_LIMIT_S = 1.0  # for the other threads to end, once the first one has
IMPORT_LIMIT_S = 300.0  # for Python itself and the packages, from a cold disk
CHILD = Path(__file__).with_name("child.py")


class Child:
    """A process with the submission in it; a context manager that ends it.

    Args:
        folder: the private folder with `homework`, `data` and `tmp`.
        hidden: what the submission may not read: the data folder first, then the other places
            of expected answers and results. None leaves the child without a lock.
        slot: what it may use of the machine; all of it by default.
        python: what runs it; the grader's own Python by default.

    Attributes:
        layers: the `active` and the `missing` layers of the lock; empty without one.
        import_s: seconds that the import of the environment's packages took.
        denied: what the lock has denied so far, each sentence once.
    """

    def __init__(
        self,
        folder: Path,
        hidden: list[Path] | None,
        slot: Slot | None = None,
        python: Interpreter | None = None,
    ) -> None:
        self._slot = slot or Slot()
        self._shared = usage.shared_memory() if sys.platform == "linux" else 0
        self.python = python or interpreter.own()
        self.layers: dict[str, list[str]] = {}
        self._cgroup: Path | None = None
        self._id = 0  # requests made
        self._replies: queue.Queue[bytes] = queue.Queue(maxsize=4)
        self.denied: list[str] = []
        self._printed = b""
        self._lock = threading.Lock()
        watched = hidden is not None and sys.platform == "linux"
        # What the lock's seccomp filter reports through.
        ours, theirs = socket.socketpair() if watched else (None, None)
        try:
            variables = places.environment(folder, hidden, self.python)
            self._process = self._start(folder, variables, theirs)
            listener_fd = theirs.fileno() if theirs else None
        finally:
            if theirs:
                theirs.close()
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._pipes = [pipe for pipe in pipes if pipe]
        self._stdin, self._stdout, self._stderr = self._pipes
        readers = self._read_replies, self._read_output
        self._threads = [threading.Thread(target=read, daemon=True) for read in readers]
        for thread in self._threads:
            thread.start()
        try:
            if watched:
                limits = self._slot.memory_bytes, usage.THREAD_LIMIT
                self._cgroup = usage.make_cgroup(self._process.pid, *limits)
            self._import_packages()
            if hidden is not None:
                self._apply_lock(folder, hidden, listener_fd, ours)
        except BaseException:
            self.__exit__()
            raise
        finally:
            if ours:
                ours.close()

    def _start(
        self, folder: Path, variables: Mapping[str, str], channel: socket.socket | None
    ) -> subprocess.Popen[bytes]:
        """Start the process, which inherits `channel` under the same number."""
        try:
            process = subprocess.Popen(
                [self.python.executable, str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=variables,
                # A group of its own: Ctrl-C reaches the parent alone, and the child is ended
                # together with whatever it started.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                pass_fds=[channel.fileno()] if channel else [],
            )
        except OSError as error:
            raise GraderError(f"no process could be started: {error.strerror}") from None
        if sys.platform == "linux" and self._slot.processor is not None:
            os.sched_setaffinity(process.pid, {self._slot.processor})
        return process

    def _import_packages(self) -> None:
        """Import the environment's packages; nothing of the submission has run when it ends."""
        over, start = f"not done after {IMPORT_LIMIT_S:g} s", time.monotonic()
        try:
            names = interpreter.BEFORE_THE_LOCK
            self.call("import_packages", start + IMPORT_LIMIT_S, over, names=names)
        except SubmissionError as error:
            remedy = interpreter.remedy() if self.python.is_own else "mend that environment"
            raise GraderError(
                f"{self.python.executable} cannot import its packages: {error}; {remedy}"
            ) from None
        self.import_s = time.monotonic() - start

    def _apply_lock(
        self,
        folder: Path,
        hidden: list[Path],
        listener_fd: int | None,
        channel: socket.socket | None,
    ) -> None:
        try:
            readable = places.readable(folder, hidden, self.python)
        except ValueError as error:
            raise GraderError(f"{error}, which a submission may read; move it elsewhere") from None
        gpus = bool(places.gpus())
        policy = {
            "folder": str(folder),
            "data_dir": os.path.realpath(hidden[0]),
            "readable": readable,
            "devices": places.devices(),
            "gpus": gpus,
            # Above the limit that is watched, as the system counts whole stacks. A GPU's driver
            # maps far more than it uses: there the memory is only watched.
            "memory_bytes": None if gpus else self._slot.memory_bytes * 5 // 4,
            "cpu_s": usage.CPU_LIMIT_S,
            "one_processor": self._slot.processor is not None,
            "listener_fd": listener_fd,
        }
        try:
            over = f"not done after {START_LIMIT_S:g} s"
            layers = self.call("lock", time.monotonic() + START_LIMIT_S, over, policy=policy)
        except SubmissionError as error:
            # Nothing of the submission has run yet.
            raise GraderError(f"the child process could not be locked: {error}") from None
        if self._cgroup:
            layers["active"].append("cgroup")
        if channel:
            from .lock import seccomp

            says = "tried to {}: not allowed in grading (from native code)"
            seccomp.listen(channel, lambda action: self._note_denial(says.format(action)))
        self.layers = layers

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it for a while
            self._process.wait(timeout=10)
        if self._cgroup:
            usage.remove_cgroup(self._cgroup)
        for thread in self._threads:
            thread.join(timeout=1)
        # A process that escaped the group may still hold the pipes; closing one that a thread
        # uses would wait for it.
        if not any(thread.is_alive() for thread in self._threads):
            for pipe in self._pipes:
                pipe.close()

    def call(self, do: str, deadline: float, over: str, **arguments: Any) -> Any:
        """Have the child do one thing (a method of `child.Submission`) and return its value.

        Args:
            deadline: by `time.monotonic`; the child is killed then.
            over: the message for that.

        Raises:
            SubmissionError: the submission raised, ended the process or took too long.
        """
        self._id += 1
        request = json.dumps({"id": self._id, "do": do, **arguments}).encode() + b"\n"
        # In a thread of its own: a child that does not read is ended with the time for its reply.
        self._threads[2:] = [threading.Thread(target=self._send, args=(request,), daemon=True)]
        self._threads[2].start()
        return read_reply(self._next_line(deadline, over), self._id)

    def output(self) -> str:
        """What the submission has printed (its last 64 KB), for a process that has ended."""
        self._threads[1].join(timeout=0.5)
        return self._printed.decode(errors="backslashreplace")

    def _note_denial(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self.denied and len(self.denied) < MAX_DENIALS:
                self.denied.append(sentence)

    def _send(self, request: bytes) -> None:
        with contextlib.suppress(OSError):  # a child that has gone shows in the reply
            while request:
                request = request[os.write(self._stdin.fileno(), request) :]

    def _next_line(self, deadline: float, over: str) -> bytes:
        ending = None  # the time at which the process first looked as if it was ending
        while (left := deadline - time.monotonic()) > 0:
            if self._slot.stop.is_set():
                raise Stopped
            line = None
            with contextlib.suppress(queue.Empty):
                # Short waits: a process started by the child may hold the pipe open after it.
                line = self._replies.get(timeout=min(left, 0.2))
            excess = None
            if self.layers:  # whether the locked process is over a limit
                before = None if self._cgroup else self._shared
                excess = usage.excess(self._process.pid, before, self._slot.memory_bytes)
            if excess in usage.OF_AN_END and not line:
                ending = ending or time.monotonic()
                if time.monotonic() - ending < END_LIMIT_S:
                    excess = None
            else:
                ending = None
            if excess:
                self._kill()
                raise self._failure(excess)
            if line:
                return line
            if line is None and (self._process.poll() is None or not self._replies.empty()):
                continue
            raise self._failure(self._how_it_ended())
        self._kill()
        raise self._failure(over)

    def _failure(self, message: str) -> SubmissionError:
        """The fault of a process that has ended, with the end of what it printed."""
        return SubmissionError(message, self.output()[-4_000:])

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._kill()
            return "the submission closed the grader's channel"
        if self._cgroup and usage.ran_out_of_memory(self._cgroup):
            return usage.over_memory(self._slot.memory_bytes)
        if code >= 0:
            return f"the process ended itself with exit code {code}"
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{hint}"

    def _kill(self) -> None:
        if os.name == "posix":
            # The group may outlive its leader, so this is done even when the child has gone.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _read_replies(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._stdout.readline(MAX_REPLY_BYTES):
                if line.startswith(DENIED):
                    self._note_denial(read_denial(line))
                else:
                    self._replies.put(line)
        self._replies.put(b"")

    def _read_output(self) -> None:
        """Read all the time what it prints, so that it never waits."""
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._stderr.fileno(), 65_536):
                self._printed = (self._printed + chunk)[-MAX_OUTPUT_BYTES:]
