"""Run engines that record races, and write the frames that they send.

    Race --> engine process --JSON lines--> NNNNN_VV_im.jpg x 10, then NNNNN_info.json

`engine` describes the messages. An engine that dies or sends nothing before its deadline is
restarted, which loses one frame. An info file is written after its images, so every frame with an
info file is complete.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

from homework.common.errors import InputError
from homework.common.files import write_bytes
from homework.frames.split import image_name
from homework.labels.scene import view_scene

from .plan import Race, info_name
from .setup import Installation, last_line

ENGINE = Path(__file__).with_name("engine.py")
FAILURES = 3  # of an engine in one race, before the rest of the race is skipped
START_SECONDS = 300  # limit for starting a race and its first frame; usually 15 to 40
FRAME_SECONDS = 90  # limit between two frames; usually 2 to 5


class EngineError(Exception):
    """The engine died, hangs, or sent something else than a frame."""


class Engine:
    """One engine process; EngineError if it does not start.

    Args:
        log: a file that gets all that it prints.
    """

    def __init__(self, installation: Installation, log) -> None:
        # Anisotropic filtering is off: with it, the software renderer takes minutes for an image or
        # hangs. Each engine draws with one thread, since several engines share the cores.
        environment = os.environ | {
            "PYTHONPATH": str(installation.assets),
            "MESA_EXTENSION_OVERRIDE": "-GL_EXT_texture_filter_anisotropic",
            "LP_NUM_THREADS": "1",
        }
        command = [str(installation.python), "-u", str(ENGINE)]
        self._process: Any = subprocess.Popen(  # with both of its pipes
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        try:
            self.next_message(START_SECONDS)  # that it has started
        except BaseException:
            self.end()
            raise

    def begin(self, race: Race) -> None:
        """Tell the engine to run a race; EngineError if it has died."""
        try:
            self._process.stdin.write(json.dumps(race._asdict()).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise EngineError("has died") from None

    def next_message(self, seconds: float) -> dict[str, Any]:
        """The engine's next message.

        Raises:
            EngineError: none came in time, or the engine has died.
        """
        limit = Timer(seconds, self._process.kill)
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        if not line.endswith(b"\n"):
            raise EngineError(f"has died, or said nothing for {seconds} s and was ended")
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


class Recorded(NamedTuple):
    """The report of a worker: a frame was written, or why it was not."""

    track: str
    views: int = 0
    failure: str = ""


class Recorder:
    """Records races into a folder with several engines in parallel."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation, self.folder, self.log = installation, folder, folder / "engine.log"
        self._results: queue.Queue[Recorded | Future] = queue.Queue()
        self._engines: set[Engine] = set()  # all that run
        self._idle: list[Engine] = []
        self._works = self._stopped = False

    def run(self, races: Sequence[Race], num_workers: int) -> Iterator[Recorded]:
        """Record the missing frames of every race.

        Raises:
            InputError: an engine cannot be started.
            OSError: the disk refuses to write.
        """
        pool = ThreadPoolExecutor(num_workers)
        for race in races:
            pool.submit(self._record, race).add_done_callback(self._results.put)
        try:
            running = len(races)
            while running:
                result = self._results.get()
                if isinstance(result, Recorded):
                    yield result
                else:
                    running -= 1
                    result.result()  # raises what the race has raised
        finally:
            self._stopped = True
            for engine in list(self._engines):
                engine.end()
            pool.shutdown(cancel_futures=True)

    def _record(self, race: Race) -> None:
        """Record the missing frames of a race, with an idle engine or a new one."""
        engine = None
        with suppress(IndexError):
            engine = self._idle.pop()
        left = self.missing(race)
        failures = 0
        while left and failures < FAILURES and not self._stopped:
            try:
                engine = engine or self._start()
                engine.begin(race._replace(frames=tuple(left), seed=race.seed + failures))
                seconds = START_SECONDS
                while "done" not in (message := engine.next_message(seconds)):
                    views = self._write(message["frame"])
                    self._results.put(Recorded(race.track, views))
                    left.pop(0)
                    seconds = FRAME_SECONDS
                break
            except (EngineError, KeyError, TypeError, ValueError) as error:
                if self._stopped:
                    break
                if engine:
                    engine.end()
                    self._engines.discard(engine)
                    engine = None
                failures += 1
                lost = left.pop(0)
                self._results.put(Recorded(race.track, 0, f"frame {lost[0]:05x}: engine {error}"))
        if engine:
            self._idle.append(engine)

    def _start(self) -> Engine:
        with open(self.log, "ab") as log:
            try:
                engine = Engine(self.installation, log)
            except (OSError, EngineError) as error:
                if self._works:
                    raise EngineError(f"cannot be started again ({error})") from None
                said = last_line(self.log.read_text(errors="replace"))
                raise InputError(
                    f"{self.installation.python}: the engine does not start ({error}; {said}); "
                    "run python -m lab.record setup"
                ) from None
        self._engines.add(engine)
        self._works = True
        return engine

    def missing(self, race: Race) -> list[tuple[int, str]]:
        """Number and moment of each missing frame of a race."""
        return [frame for frame in race.frames if not (self.folder / info_name(frame[0])).exists()]

    def _write(self, frame: dict[str, Any]) -> int:
        """Write one frame, the info file last; returns the number of its views.

        Raises:
            ValueError: it is not what an engine sends.
        """
        file, info = self.folder / info_name(frame["number"]), frame["info"]
        for view, image in enumerate(frame["pictures"]):
            view_scene(info, view)  # an error in the labels is found before the info file is there
            data = base64.b64decode(image, validate=True)
            write_bytes(self.folder / image_name(file.name, view), data)
        write_bytes(file, json.dumps(info).encode())
        return len(frame["pictures"])
