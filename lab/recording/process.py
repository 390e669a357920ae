"""One engine process and the messages to and from it, which `engine` describes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .plan import Race

START_SECONDS = 300  # limit for starting a race and its first frame; usually 15 to 40
FRAME_SECONDS = 90  # limit between two frames; usually 2 to 5
MAX_MESSAGE = 50_000_000  # bytes of a message from an engine; a frame has some 150,000

# Without the effects that 150x100 images do not show: see lab/README.md. Light shafts stay, since
# they draw the sun.
GRAPHICS = dict.fromkeys(("dof", "motionblur", "bloom", "mlaa", "glow"), False)


class Installation(NamedTuple):
    """The Python of the engine, and the folder that holds its `pystk_data`."""

    python: Path
    assets: Path

    def environment(self) -> dict[str, str]:
        """The environment variables of an engine.

        Anisotropic filtering is off: with it, the software renderer takes minutes for an image or
        hangs. Each engine draws with one thread, since several engines share the cores.
        """
        return os.environ | {
            "PYTHONPATH": str(self.assets),
            "MESA_EXTENSION_OVERRIDE": "-GL_EXT_texture_filter_anisotropic",
            "LP_NUM_THREADS": "1",
        }


class EngineError(Exception):
    """The engine died, hangs, or sent something else than a frame."""


class Engine:
    """One engine process (see lab.recording.engine)."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log) -> None:
        self._process: Any = subprocess.Popen(  # with both of its pipes
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        self._rest = b""
        self.about: dict[str, Any] = {}
        try:
            self._say({"graphics": GRAPHICS})
            self.about = self.next_message(START_SECONDS)["engine"]
        except BaseException:
            self.end()
            raise

    def begin(self, race: Race) -> None:
        """Tell the engine to run a race.

        Raises:
            EngineError: it has died.
        """
        self._say({"race": race._asdict()})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise EngineError("has died") from None

    def next_message(self, seconds: float) -> dict[str, Any]:
        """The engine's next message.

        Raises:
            EngineError: none came in time, or the engine has died.
        """
        deadline = time.monotonic() + seconds
        source = self._process.stdout.fileno()
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([source], [], [], left)[0]:
                raise EngineError(f"said nothing for {seconds} s")
            data = os.read(source, 1 << 20)
            if not data:
                raise EngineError("has died")
            parts.append(data)
            if sum(map(len, parts)) > MAX_MESSAGE:
                raise EngineError("sends a line without end")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise EngineError("sends something else than JSON") from None

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                end.close()


def last_line(text: str) -> str:
    """The last line that a process printed."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
