"""Run engines that record races, and write the frames that they send.

    Race --job--> engine process --JSON lines--> NNNNN_VV_im.jpg x 10, then NNNNN_info.json

An engine that dies or sends nothing before its deadline is restarted, which loses one frame. An
info file is written after its images, so every frame with an info file is complete.
"""

from __future__ import annotations

import base64
import binascii
import json
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from homework.common.errors import InputError
from homework.common.files import write_bytes
from homework.frames.split import image_name
from homework.labels.scene import IMAGE_SIZE, view_scene

from .plan import Race, info_name
from .process import (
    FRAME_SECONDS,
    START_SECONDS,
    Engine,
    EngineError,
    Installation,
    last_line,
)

ENGINE = Path(__file__).with_name("engine.py")
FAILURES = 3  # of an engine in one race, before the rest of the race is skipped


class Recorded(NamedTuple):
    """The report of a worker: a frame was written, or why it was not."""

    track: str
    views: int = 0
    failure: str = ""


class Recorder:
    """Records races into a folder with several engines in parallel."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "engine.log"
        self._command = [str(installation.python), "-u", str(ENGINE)]
        self._environment = installation.environment()
        self._results: queue.Queue[Recorded | Future] = queue.Queue()
        self._engines: set[Engine] = set()  # all that run
        self._idle: list[Engine] = []
        self._stopped = False
        self.about: dict[str, Any] = {}  # the first message of an engine: karts, tracks, versions

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
                again = race._replace(frames=tuple(left), seed=race.seed + failures)
                engine.begin(again)
                seconds = START_SECONDS
                while "done" not in (message := engine.next_message(seconds)):
                    self._write(message["frame"], race)
                    self._results.put(Recorded(race.track, len(message["frame"]["pictures"])))
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
                engine = Engine(self._command, self._environment, log)
            except OSError as error:
                raise InputError(
                    f"{self._command[0]}: cannot be started ({error.strerror}); "
                    "run python -m lab.record setup"
                ) from None
            except EngineError as error:
                if self.about:  # another engine has started, so the installation works
                    raise
                said = last_line(self.log.read_text(errors="replace"))
                raise InputError(
                    f"the engine {error} ({said}); run python -m lab.record setup"
                ) from None
        self._engines.add(engine)
        self.about = self.about or engine.about
        return engine

    def missing(self, race: Race) -> list[tuple[int, str]]:
        """Number and moment of each missing frame of a race."""
        return [frame for frame in race.frames if not (self.folder / info_name(frame[0])).exists()]

    def _write(self, frame: dict[str, Any], race: Race) -> None:
        """Write one frame, the info file last.

        Raises:
            ValueError: it is not a frame of this race.
        """
        file = self.folder / info_name(frame["number"])
        info, images = frame["info"], decode_frame(frame, race)
        for view, data in enumerate(images):
            write_bytes(self.folder / image_name(file.name, view), data)
        write_bytes(file, json.dumps(info).encode())


def decode_frame(frame: dict[str, Any], race: Race) -> list[bytes]:
    """The JPEG files of a frame from an engine, one per view.

    Raises:
        ValueError: the frame is not one of `race`, or an image is damaged or of another size.
    """
    from PIL import Image

    info = frame["info"]
    if info["track"] != race.track or sorted(info["karts"]) != sorted(race.karts):
        raise ValueError("sends a frame of another race")
    if not len(frame["pictures"]) == len(info["detections"]) == len(race.karts):
        raise ValueError(f"sends {len(frame['pictures'])} views, not {len(race.karts)}")
    images = []
    for view, text in enumerate(frame["pictures"]):
        view_scene(info, view)
        try:
            data = base64.b64decode(text, validate=True)
            with Image.open(BytesIO(data)) as image:
                image.load()
        except (binascii.Error, OSError) as error:
            raise ValueError(f"sends a damaged image ({error})") from None
        if image.size != IMAGE_SIZE:
            raise ValueError(f"sends an image of {image.size}, not {IMAGE_SIZE}")
        images.append(data)
    return images
