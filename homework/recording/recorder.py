"""Runs engines that record races, and writes the frames that they send.

    Race --job--> engine process --JSON lines--> NNNNN_VV_im.jpg x 10, then NNNNN_info.json

An engine that dies or says nothing until its deadline is ended and started again; that costs one
frame. An info file is written after its pictures, so that every frame that has one is whole.
"""

from __future__ import annotations

import base64
import binascii
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import InputError
from ..common.files import atomic_write
from ..frames.split import CAMERAS_SUFFIX, info_name, picture_name
from ..labels.scene import PICTURE_SIZE, view_scene
from .plan import Race
from .process import (
    FRAME_SECONDS,
    START_SECONDS,
    Engine,
    EngineError,
    Installation,
    engine_environment,
    last_line,
)

ENGINE = Path(__file__).with_name("engine.py")
FAILURES = 3  # of an engine in one race before the race is left out


class Recorded(NamedTuple):
    """What a worker reports: a frame that is written, or why one is not."""

    track: str
    views: int = 0
    failure: str = ""


class Recorder:
    """Records races into a folder with several engines at a time."""

    def __init__(
        self, installation: Installation, folder: Path, quality: str, cameras: bool = False
    ) -> None:
        self.folder, self.quality, self.cameras = folder, quality, cameras
        self.log = folder / "engine.log"
        self._command = [str(installation.python), "-u", str(ENGINE)]
        self._environment = engine_environment(installation)
        self._results: queue.Queue[Recorded | BaseException | None] = queue.Queue()
        self._races: queue.SimpleQueue[Race] = queue.SimpleQueue()
        self._engines: set[Engine] = set()
        self._stopped = False
        self.about: dict[str, Any] = {}  # what an engine says of itself

    def run(self, races: Sequence[Race], num_workers: int) -> Iterator[Recorded]:
        """Record every race; frames that are there already are left out.

        Raises:
            InputError: an engine cannot be started, or the disk refuses.
        """
        for race in races:
            self._races.put(race)
        count = min(num_workers, len(races))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                result = self._results.get()
                if result is None:
                    running -= 1
                elif isinstance(result, BaseException):
                    raise result
                else:
                    yield result
        finally:
            self._stopped = True
            for engine in list(self._engines):
                engine.end()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        engine = None
        try:
            while not self._stopped:
                try:
                    race = self._races.get_nowait()
                except queue.Empty:
                    break
                engine = self._record(race, engine)
        except BaseException as error:
            if not self._stopped:
                self._results.put(error)
        finally:
            if engine:
                self._end(engine)
            self._results.put(None)

    def _record(self, race: Race, engine: Engine | None) -> Engine | None:
        """Record the frames of a race that are missing; the engine, if it still runs."""
        left = self.missing(race)
        failures = 0
        while left and failures < FAILURES and not self._stopped:
            try:
                engine = engine or self._start()
                again = race._replace(frames=tuple(left), seed=race.seed + failures)
                engine.begin(again.job(self.cameras))
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
                    self._end(engine)
                    engine = None
                failures += 1
                lost = left.pop(0)
                self._results.put(Recorded(race.track, 0, f"frame {lost[0]:05x}: engine {error}"))
        return engine

    def _start(self) -> Engine:
        with open(self.log, "ab") as log:
            try:
                engine = Engine(self._command, self._environment, self.quality, log)
            except OSError as error:
                raise InputError(
                    f"{self._command[0]}: cannot be started ({error.strerror}); "
                    "run python -m homework.record setup"
                ) from None
            except EngineError as error:
                if self.about:  # one has started before, so this one had bad luck
                    raise
                said = last_line(self.log.read_text(errors="replace"))
                raise InputError(
                    f"the engine {error} ({said}); run python -m homework.record doctor"
                ) from None
        self._engines.add(engine)
        self.about = self.about or engine.about
        return engine

    def _end(self, engine: Engine) -> None:
        engine.end()
        self._engines.discard(engine)

    def missing(self, race: Race) -> list[tuple[int, str]]:
        """Number and moment of each frame of a race that is not recorded yet."""
        return [frame for frame in race.frames if not (self.folder / info_name(frame[0])).exists()]

    def _write(self, frame: dict[str, Any], race: Race) -> None:
        """Write one frame, the info file last.

        Raises:
            ValueError: it is no frame of this race.
        """
        file = self.folder / info_name(frame["number"])
        info, pictures = frame["info"], decode_frame(frame, race)
        for view, data in enumerate(pictures):
            with atomic_write(self.folder / picture_name(file.name, view)) as opened:
                opened.write(data)
        if self.cameras:
            cameras = self.folder / f"{frame['number']:05x}{CAMERAS_SUFFIX}"
            with atomic_write(cameras) as opened:
                opened.write(json.dumps(frame["cameras"]).encode())
        with atomic_write(file) as opened:
            opened.write(json.dumps(info).encode())


def decode_frame(frame: dict[str, Any], race: Race) -> list[bytes]:
    """The JPEG files of a frame that an engine sent, one per view.

    Raises:
        ValueError: the frame is not one of `race`, or a picture is not what it should be.
    """
    from PIL import Image

    info = frame["info"]
    if info["track"] != race.track or sorted(info["karts"]) != sorted(race.karts):
        raise ValueError("sends a frame of another race")
    if not len(frame["pictures"]) == len(info["detections"]) == len(race.karts):
        raise ValueError(f"sends {len(frame['pictures'])} views, not {len(race.karts)}")
    pictures = []
    for view, text in enumerate(frame["pictures"]):
        view_scene(info, view)
        try:
            data = base64.b64decode(text, validate=True)
            with Image.open(BytesIO(data)) as picture:
                picture.load()
        except (binascii.Error, OSError) as error:
            raise ValueError(f"sends a picture that is none ({error})") from None
        if picture.size != PICTURE_SIZE:
            raise ValueError(f"sends a picture of {picture.size}, not {PICTURE_SIZE}")
        pictures.append(data)
    return pictures
