"""The parent's end of the child process: requests, time limits and the end of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .errors import GraderError, SubmissionError

MAX_REPLY_BYTES = 16_000_000
MAX_OUTPUT_BYTES = 64_000  # of the submission's prints: the last ones are kept
CHILD = Path(__file__).with_name("child.py")


class Child:
    """A process with the submission in it; a context manager that ends it.

    Args:
        folder: the private folder with `homework`, `data` and `tmp`.
    """

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp")),
        }
        # A group of its own: Ctrl-C reaches the parent alone, and the child is ended together
        # with whatever it started.
        new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
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
            )
        except OSError as error:
            raise GraderError(f"no process could be started: {error.strerror}") from None
        self._id = 0
        self._replies: queue.Queue[bytes] = queue.Queue(maxsize=4)
        self._output = b""
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_replies, self._read_output)
        ]
        for thread in self._threads:
            thread.start()

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

    def _next_line(self, deadline: float, over: str) -> bytes:
        while (left := deadline - time.monotonic()) > 0:
            try:
                # Short waits: a process started by the child may hold the pipe open after it.
                line = self._replies.get(timeout=min(left, 0.5))
            except queue.Empty:
                if self._process.poll() is None or not self._replies.empty():
                    continue
                line = b""
            if line:
                return line
            raise SubmissionError(self._how_it_ended(), self._last_words())
        self._kill()
        raise SubmissionError(over, self._last_words())

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
        else:
            self._process.kill()

    def _read_replies(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._process.stdout.readline(MAX_REPLY_BYTES):
                self._replies.put(line)
        self._replies.put(b"")

    def _read_output(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._process.stderr.read1(65_536):
                with self._lock:
                    self._output = (self._output + chunk)[-MAX_OUTPUT_BYTES:]
