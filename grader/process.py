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
from pathlib import Path
from typing import Any

from .errors import GraderError, SubmissionError, one_line
from .lock import places

MAX_REPLY_BYTES = 16_000_000
MAX_OUTPUT_BYTES = 64_000  # of the submission's prints: the last ones are kept
MAX_DENIALS = 100  # kept, each once
MEMORY_LIMIT_BYTES = 8_000_000_000
THREAD_LIMIT = max(512, 8 * (os.cpu_count() or 1))
CPU_LIMIT_S = 1800  # a core; ends a child whose parent can no longer do it
START_LIMIT_S = 60.0  # for Python itself and the lock
CHILD = Path(__file__).with_name("child.py")
_DENIED = b'{"denied": '


class Child:
    """A process with the submission in it; a context manager that ends it.

    Args:
        folder: the private folder with `homework`, `data` and `tmp`.
        data_dir: where the expected answers are; None leaves the child without a lock.

    Attributes:
        layers: the `active` and the `missing` layers of the lock; empty without one.
    """

    def __init__(self, folder: Path, data_dir: Path | None) -> None:
        environment = (places.environment(folder) if data_dir else os.environ) | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp")),
        }
        # A group of its own: Ctrl-C reaches the parent alone, and the child is ended together
        # with whatever it started.
        new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        # What the lock's seccomp filter reports through.
        ours, theirs = socket.socketpair() if sys.platform == "linux" else (None, None)
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
                start_new_session=True,
                creationflags=new_group,
                pass_fds=[theirs.fileno()] if theirs and data_dir else [],
            )
        except OSError as error:
            raise GraderError(f"no process could be started: {error.strerror}") from None
        finally:
            listener_fd = theirs.fileno() if theirs else None
            if theirs:
                theirs.close()
        self._id = 0
        self._replies: queue.Queue[bytes] = queue.Queue(maxsize=4)
        self._output = b""
        self._denials: dict[str, None] = {}
        self._new_denials: list[str] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_replies, self._read_output)
        ]
        for thread in self._threads:
            thread.start()
        self.layers: dict[str, list[str]] = {}
        try:
            if data_dir:
                self.layers = self._apply_lock(folder, data_dir, listener_fd, ours)
        except BaseException:
            self.__exit__()
            raise
        finally:
            if ours:
                ours.close()

    def _apply_lock(
        self, folder: Path, data_dir: Path, listener_fd: int | None, channel: socket.socket | None
    ) -> dict[str, list[str]]:
        memory = _memory_limit()
        try:
            policy = {
                "folder": str(folder),
                "data_dir": os.path.realpath(data_dir),
                "readable": places.readable(folder, data_dir),
                "devices": places.devices(),
                # More than the watched limit, as each thread's stack counts whole. A GPU's
                # driver maps far more than it uses: there the memory is only watched.
                "memory_bytes": None if places.gpus() else memory + memory // 4,
                "cpu_s": CPU_LIMIT_S * (os.cpu_count() or 1),
                "listener_fd": listener_fd,
            }
        except ValueError as error:
            raise GraderError(
                f"{data_dir}: lies inside {error}, which a submission may read; move it elsewhere"
            ) from None
        try:
            over = f"not done after {START_LIMIT_S:g} s"
            layers = self.call("lock", time.monotonic() + START_LIMIT_S, over, policy=policy)
        except SubmissionError as error:
            # Nothing of the submission has run yet.
            raise GraderError(f"the child process could not be locked: {error}") from None
        if channel:
            from .lock import listener

            listener.listen(channel, self._note_denied_call)
        return layers

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=1)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        # A process that escaped the group may still hold the pipes; closing one that a thread
        # is reading would wait for it.
        if not any(thread.is_alive() for thread in self._threads):
            self._process.stdout.close()
            self._process.stderr.close()

    def call(self, do: str, deadline: float, over: str, **arguments: Any) -> Any:
        """Have the child do one thing (a method of `child.Submission`) and return its value.

        Args:
            deadline: in `time.monotonic()` seconds; the child is killed then.
            over: the message for that.

        Raises:
            SubmissionError: the submission raised, ended the process or took too long.
        """
        self._id += 1
        request = {"id": self._id, "do": do, **arguments}
        # A child that has gone shows in the reply.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        line = self._next_line(deadline, over)
        try:
            reply = json.loads(line)
            error = reply.get("error")
            problem = (str(error["message"]), str(error["traceback"])) if error else None
            value = None if error else reply["value"]
            if reply["id"] != self._id:
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._kill()
            raise SubmissionError("the submission wrote into the grader's channel") from None
        if problem:
            raise SubmissionError(*problem)
        return value

    def output(self) -> str:
        """What the submission printed since the last call of this (its last 64 KB)."""
        with self._lock:
            output, self._output = self._output, b""
        return output.decode(errors="backslashreplace")

    def denials(self) -> list[str]:
        """What the lock has denied since the last call of this, each sentence once."""
        with self._lock:
            denials, self._new_denials = self._new_denials, []
        return denials

    def _note_denied_call(self, action: str) -> None:
        self._note_denial(f"tried to {action}: not allowed in grading (from native code)")

    def _note_denial(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self._denials and len(self._denials) < MAX_DENIALS:
                self._denials[sentence] = None
                self._new_denials.append(sentence)

    def _next_line(self, deadline: float, over: str) -> bytes:
        while (left := deadline - time.monotonic()) > 0:
            try:
                # Short waits: a process started by the child may hold the pipe open after it.
                line = self._replies.get(timeout=min(left, 0.2))
            except queue.Empty:
                if self.layers and (excess := self._excess()):
                    self._kill()
                    raise SubmissionError(excess, self._last_words()) from None
                if self._process.poll() is None or not self._replies.empty():
                    continue
                line = b""
            if line:
                return line
            raise SubmissionError(self._how_it_ended(), self._last_words())
        self._kill()
        raise SubmissionError(over, self._last_words())

    def _excess(self) -> str | None:
        """Which limit the child is over; known on Linux only."""
        threads, memory = _usage(self._process.pid)
        if memory > (limit := _memory_limit()):
            return f"used over {limit / 1e9:.1f} GB of memory and was stopped"
        if threads > THREAD_LIMIT:
            return f"started over {THREAD_LIMIT} threads and was stopped"
        return None

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._kill()
            return "the submission closed the grader's channel"
        if code >= 0:
            return f"the process ended itself with exit code {code}"
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{hint}"

    def _last_words(self) -> str:
        self._threads[1].join(timeout=0.5)
        with self._lock:
            return self._output[-4_000:].decode(errors="backslashreplace")

    def _kill(self) -> None:
        if os.name == "posix":
            # The group may outlive its leader, so this is done even when the child has gone.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _read_replies(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._process.stdout.readline(MAX_REPLY_BYTES):
                if line.startswith(_DENIED):
                    self._note_denial(_denial(line))
                else:
                    self._replies.put(line)
        self._replies.put(b"")

    def _read_output(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._process.stderr.read1(65_536):
                with self._lock:
                    self._output = (self._output + chunk)[-MAX_OUTPUT_BYTES:]


def _denial(line: bytes) -> str:
    """The sentence of a `denied` line; the submission may have written it."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(sentence := json.loads(line)["denied"], str):
            return one_line(sentence)
    return "tried to write into the grader's channel"


def _usage(pid: int) -> tuple[int, int]:
    """Threads and resident bytes of a process; zeros where that cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        return len(os.listdir(f"/proc/{pid}/task")), pages * os.sysconf("SC_PAGE_SIZE")
    return 0, 0


def _memory_limit() -> int:
    """MEMORY_LIMIT_BYTES, or less where the machine has hardly more."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(MEMORY_LIMIT_BYTES, installed * 9 // 10)
    return MEMORY_LIMIT_BYTES
