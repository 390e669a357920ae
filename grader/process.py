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
from pathlib import Path
from typing import Any

from . import interpreter, usage
from .child import MAX_TEXT
from .errors import GraderError, SubmissionError, one_line
from .interpreter import Interpreter
from .lock import places
from .output import Output
from .slot import Slot

# What 32 answers of `child.MAX_ANSWER` letters take at most; JSON grows by 30 when it is read.
MAX_REPLY_BYTES = 4_000_000
MAX_DENIALS = 100  # kept, each once
START_LIMIT_S = 60.0  # for the lock
END_LIMIT_S = 1.0  # for the other threads to end, once the first one has
IMPORT_LIMIT_S = 300.0  # for Python itself and the packages, from a cold disk
CHILD = Path(__file__).with_name("child.py")
FORGED = "the submission wrote into the grader's channel"
_DENIED = b'{"denied": '


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
        self._id = self._told = 0  # requests made, denials told
        self._replies: queue.Queue[bytes] = queue.Queue(maxsize=4)
        self._denials: list[str] = []
        self._lock = threading.Lock()
        watched = hidden is not None and sys.platform == "linux"
        # What the lock's seccomp filter reports through.
        ours, theirs = socket.socketpair() if watched else (None, None)
        try:
            variables = places.environment(folder, hidden, self.python)
            command = [self.python.executable, str(CHILD)]
            self._process = self._slot.start(command, folder, variables, theirs)
            listener_fd = theirs.fileno() if theirs else None
        finally:
            if theirs:
                theirs.close()
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._pipes = [pipe for pipe in pipes if pipe]
        self._stdin, self._stdout, stderr = self._pipes
        self._output = Output(stderr)
        reader = threading.Thread(target=self._read_replies, daemon=True)
        reader.start()
        self._threads = [reader, self._output.thread]
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

    def _import_packages(self) -> None:
        """Import the environment's packages; nothing of the submission has run when it ends."""
        over, start = f"not done after {IMPORT_LIMIT_S:g} s", self.clock()
        try:
            names = interpreter.BEFORE_THE_LOCK
            self.call("import_packages", start + IMPORT_LIMIT_S, over, names=names)
        except SubmissionError as error:
            remedy = interpreter.remedy() if self.python.is_own else "mend that environment"
            raise GraderError(
                f"{self.python.executable} cannot import its packages: {error}; {remedy}"
            ) from None
        self.import_s = self.clock() - start
        self._output.take()  # their warnings are not the submission's prints

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
            layers = self.call("lock", self.clock() + START_LIMIT_S, over, policy=policy)
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

    def clock(self) -> float:
        """Seconds that have passed for the child, from an arbitrary start."""
        return self._slot.clock(self._process.pid)

    def call(self, do: str, deadline: float, over: str, **arguments: Any) -> Any:
        """Have the child do one thing (a method of `child.Submission`) and return its value.

        Args:
            deadline: in seconds of `clock`; the child is killed then.
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
        """What the submission printed since the last call of this (its last 64 KB)."""
        return self._output.take()

    def denials(self) -> list[str]:
        """What the lock has denied since the last call of this, each sentence once."""
        new = self._denials[self._told :]
        self._told += len(new)
        return new

    def _note_denial(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self._denials and len(self._denials) < MAX_DENIALS:
                self._denials.append(sentence)

    def _send(self, request: bytes) -> None:
        with contextlib.suppress(OSError):  # a child that has gone shows in the reply
            while request:
                request = request[os.write(self._stdin.fileno(), request) :]

    def _next_line(self, deadline: float, over: str) -> bytes:
        ending = None  # the time at which the process first looked as if it was ending
        while (left := deadline - self.clock()) > 0:
            self._slot.check()
            line = None
            with contextlib.suppress(queue.Empty):
                # Short waits: a process started by the child may hold the pipe open after it.
                line = self._replies.get(timeout=min(left, 0.2))
            excess = None
            if self.layers:  # whether the locked process is over a limit
                before = None if self._cgroup else self._shared
                excess = usage.excess(self._process.pid, before, self._slot.memory_bytes)
            if excess in usage.OF_AN_END and not line:
                ending = ending or self.clock()
                if self.clock() - ending < END_LIMIT_S:
                    excess = None
            else:
                ending = None
            if excess:
                self._kill()
                raise SubmissionError(excess, self._output.last_words())
            if line:
                return line
            if line is None and (self._process.poll() is None or not self._replies.empty()):
                continue
            raise SubmissionError(self._how_it_ended(), self._output.last_words())
        self._kill()
        raise SubmissionError(over, self._output.last_words())

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
                if line.startswith(_DENIED):
                    self._note_denial(read_denial(line))
                else:
                    self._replies.put(line)
        self._replies.put(b"")


def read_reply(line: bytes, number: int) -> Any:
    """The value in the reply to a request; the submission may have written anything there.

    Raises:
        SubmissionError: it is none, or not to this request; or the submission raised.
    """
    try:
        reply = json.loads(line)
        if reply["id"] == number and type(reply["id"]) is int:
            if "error" not in reply:
                return reply["value"]
            texts = reply["error"]["message"], reply["error"]["traceback"]
            if all(isinstance(text, str) for text in texts):
                raise SubmissionError(*(text[:MAX_TEXT] for text in texts))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise SubmissionError(FORGED)


def read_denial(line: bytes) -> str:
    """The sentence of a `denied` line; the submission may have written it."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        # The child's own are shorter than this, however JSON writes their letters.
        if len(line) < 7 * MAX_TEXT and isinstance(sentence := json.loads(line)["denied"], str):
            return one_line(sentence)
    return "tried to write into the grader's channel"
