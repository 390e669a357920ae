"""What the submission prints: drained all the time, so that it never waits; the end is kept."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import IO

MAX_OUTPUT_BYTES = 64_000  # the last ones are kept
_POSIX = os.name == "posix"


class Output:
    """Reads a pipe, the child's standard error and output, in a thread of its own."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe.fileno()
        self._kept = b""
        self._lock = threading.RLock()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def take(self) -> str:
        """What was printed since the last call of this."""
        # Prints may lag behind the reply that came after them, which has a pipe of its own.
        deadline = time.monotonic() + 0.2
        with contextlib.suppress(OSError, ValueError):
            while self.thread.is_alive() and time.monotonic() < deadline and self._is_readable(0):
                time.sleep(0.001)
        with self._lock:
            output, self._kept = self._kept, b""
        return output.decode(errors="backslashreplace")

    def last_words(self) -> str:
        """The last 4 KB, for a process that has ended or is about to."""
        self.thread.join(timeout=0.5)
        with self._lock:
            return self._kept[-4_000:].decode(errors="backslashreplace")

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                self._is_readable(None)
                # Under the lock: what has left the pipe is in _kept for whoever looks next. Without
                # `poll` (Windows) the reading itself waits, which must not hold the lock.
                with self._lock if _POSIX else contextlib.nullcontext():
                    chunk = os.read(self._pipe, 65_536)
                    with self._lock:
                        self._kept = (self._kept + chunk)[-MAX_OUTPUT_BYTES:]
                if not chunk:
                    return

    def _is_readable(self, timeout_ms: int | None) -> bool:
        """Whether there is more, or the end, within some time (POSIX)."""
        if os.name != "posix":
            return False
        waiting = select.poll()
        waiting.register(self._pipe, select.POLLIN)
        return bool(waiting.poll(timeout_ms))
