"""Record races with PySTK 1.1.2. Runs in the Python of the engine (3.8 and later).

`recorder` starts this file as a process, writes one JSON line per race to its standard input and
reads JSON lines from its standard output:

    -> {"started": true}                                                once
    <- {"track", "karts", "seed", "frames": [[number, moment], ...]}    one per race
    -> {"frame": {"number", "info", "pictures": [JPEG in base64, ...]}}   one per frame
    -> {"done": seed of the race}

A moment is "chase" (cameras follow the karts), "end" (cameras are before the karts, as for karts
that have finished), "finish" (the same, with the karts past the finish line), "pack" or
"pack_front" (karts close together, cameras behind or before them).

Imports nothing of this package, only PySTK, numpy and Pillow.
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import math
import os
import random
import sys

import numpy as np
import pystk  # pyright: ignore[reportMissingImports]
from PIL import Image

FRAME_WIDTH, FRAME_HEIGHT = 600, 400  # of the detection boxes in the dataset
IMAGE_SIZE = (150, 100)
# Effects that images of 150x100 do not show: see lab/README.md. Light shafts stay, since they draw
# the sun.
UNSEEN = ("dof", "motionblur", "bloom", "mlaa", "glow")
JPEG_QUALITY = 95  # as in the dataset, by its quantisation tables
TICKS_PER_SECOND = 120  # of the physics
CAMERA_TICKS = 6  # physics ticks between two moves of the cameras, which move 20 times a second
NORMAL_CAMERA, END_CAMERA = 0, 2  # Camera::CameraType
WARM_UP = (9.0, 25.0)  # seconds before the first frame, in which the karts spread out
BETWEEN = (2.0, 7.0)  # seconds between two frames
STUCK_SPEED = 2.0  # metres per second; a slower kart is placed on the track again
CRUISING = (10.0, 22.0)  # speed of a placed kart, metres per second
SETTLE = 1.5  # seconds in which placed karts drive on and cameras reach them
GROUP = 4  # karts that are placed near each other
PACK = (5, 10)  # least and greatest number of karts in a pack
CROWDED = (2.5, 9.0)  # metres between karts of a group, along the line
ASIDE = 2.5  # metres from the line, at most
FINISHED = (0.0, 250.0)  # metres past the line, where half of the dataset's views are
MIN_LENGTH = 50.0  # metres; on a shorter driving line karts are not placed


class World:
    """The world of the engine. `advance` does not draw: it is ten times as fast as `Race.step`."""

    def __init__(self) -> None:
        self._cameras: dict = {}  # player -> kind
        library = ctypes.CDLL(pystk.__file__)
        self._world = ctypes.c_void_p.in_dll(library, "_ZN5World7m_worldE")
        self._update = _method(library, "_ZN5World11updateWorldEi", ctypes.c_int)
        self._update_time = _method(library, "_ZN11WorldStatus10updateTimeEi", ctypes.c_int)
        self._move_cameras = _method(library, "_ZN5World21updateGraphicsMinimalEf", ctypes.c_float)
        self._change_camera = library["_ZN6Camera12changeCameraEjNS_10CameraTypeE"]
        self._change_camera.argtypes = [ctypes.c_uint, ctypes.c_int]

    def advance(self, seconds: float) -> None:
        """Drive on; the cameras follow."""
        for _ in range(round(seconds * TICKS_PER_SECOND / CAMERA_TICKS)):
            for _ in range(CAMERA_TICKS):
                self._update(self._world, 1)
                self._update_time(self._world, 1)
            self._move_cameras(self._world, CAMERA_TICKS / TICKS_PER_SECOND)

    def use_camera(self, player: int, kind: str) -> None:
        """`chase` follows the kart from behind; `end` is the camera of a kart that has finished."""
        if self._cameras.get(player, "chase") != kind:
            self._change_camera(player, END_CAMERA if kind == "end" else NORMAL_CAMERA)
            self._cameras[player] = kind


def _method(library: ctypes.CDLL, name: str, argument: type):
    method = library[name]
    method.argtypes, method.restype = [ctypes.c_void_p, argument], None
    return method


class Line:
    """The driving line of a track, on which karts are placed."""

    def __init__(self) -> None:
        track = pystk.Track()
        track.update()
        nodes = np.array(track.path_nodes).reshape(-1, 2, 3)
        self.starts, self.ends = nodes[:, 0], nodes[:, 1]
        lengths = np.linalg.norm(self.ends - self.starts, axis=1)
        self.distances = np.concatenate([[0.0], np.cumsum(lengths)])
        self.length = float(self.distances[-1])

    def put(self, kart: int, distance: float, aside: float, speed: float) -> None:
        """Place a kart `distance` metres along the line, `aside` metres to its right."""
        distance %= self.length
        node = int(np.searchsorted(self.distances, distance, side="right")) - 1
        node = min(node, len(self.starts) - 1)
        along = self.ends[node] - self.starts[node]
        size = max(float(np.linalg.norm(along)), 1e-6)
        yaw = math.atan2(along[0], along[2])
        place = self.starts[node] + along * ((distance - self.distances[node]) / size)
        place = place + aside * np.array([math.cos(yaw), 0.0, -math.sin(yaw)]) + [0.0, 0.5, 0.0]
        rotation = (0.0, math.sin(yaw / 2), 0.0, math.cos(yaw / 2))
        pystk.WorldState.set_kart_location(kart, tuple(map(float, place)), rotation, speed)


def record(job: dict, send) -> None:
    """Run one race and send each of its frames."""
    rng = random.Random(job["seed"])
    race = pystk.Race(race_config(job))
    race.start()
    race.step()  # the first image loads models and textures
    world, line, state = World(), Line(), pystk.WorldState()
    world.advance(rng.uniform(*WARM_UP))
    players = range(len(job["karts"]))
    slow: set = set()
    for number, moment in job["frames"]:
        for player in players:
            world.use_camera(player, "chase" if moment in ("chase", "pack") else "end")
        world.advance(rng.uniform(*BETWEEN))
        state.update()
        if line.length < MIN_LENGTH:
            pass
        elif moment == "finish":
            for kart in state.karts:
                _put_group([kart.id], line, min(rng.uniform(*FINISHED), line.length / 2), rng)
        elif moment in ("pack", "pack_front"):
            _put_groups(state, line, lambda: rng.randint(*PACK), rng)
        else:
            slow = _put_back(state, line, slow, rng)
        world.advance(SETTLE)
        race.step()
        state.update()
        # Some tracks have fixed end cameras that may not see their kart.
        if lost := [player for player in players if not _sees_own(race, state, player)]:
            for player in lost:
                world.use_camera(player, "chase")
            world.advance(SETTLE)
            race.step()
            state.update()
        send({"frame": {"number": number, **_frame(job, race, state)}})
    race.stop()
    del race


def _sees_own(race, state, player: int) -> bool:
    """Whether the camera of a player sees the kart of that player."""
    own = (int(pystk.ObjectType.kart) << pystk.object_type_shift) | state.players[player].kart.id
    return bool((np.array(race.render_data[player].instance) == own).any())


def race_config(job: dict):
    driven = pystk.PlayerConfig.Controller.AI_CONTROL
    config = pystk.RaceConfig(
        track=job["track"],
        num_kart=len(job["karts"]),
        laps=99,  # no kart may finish: the engine stops a race that all karts have finished
        seed=job["seed"] % 2**31,
        step_size=CAMERA_TICKS / TICKS_PER_SECOND,
    )
    config.players[0].kart = job["karts"][0]
    config.players[0].controller = driven
    for kart in job["karts"][1:]:
        config.players.append(pystk.PlayerConfig(kart, driven, 0))
    return config


def _put_back(state, line: Line, slow: set, rng: random.Random) -> set:
    """Place karts that stood still in two frames in a row; returns the ids of those that stand now.

    If most karts stand (on some tracks none drives), all are placed in groups along the line.
    """
    still = {k.id for k in state.karts if math.hypot(*map(float, k.velocity)) < STUCK_SPEED}
    if len(still) > len(state.karts) // 2:
        _put_groups(state, line, lambda: GROUP, rng)
        return set()
    driving = [float(k.distance_down_track) for k in state.karts if k.id not in still]
    for kart in still & slow:
        _put_group([kart], line, rng.choice(driving) + rng.uniform(-25, 25), rng)
    return still - slow


def _put_groups(state, line: Line, draw_size, rng: random.Random) -> None:
    """Place all karts in groups at random places on the line; `draw_size()` is the next size."""
    order = [kart.id for kart in state.karts]
    rng.shuffle(order)
    while order:
        size = draw_size()
        _put_group(order[:size], line, rng.uniform(0, line.length), rng)
        order = order[size:]


def _put_group(karts: list, line: Line, distance: float, rng: random.Random) -> None:
    speed = rng.uniform(*CRUISING)
    for place, kart in enumerate(karts):
        beside = rng.uniform(-ASIDE, ASIDE)
        line.put(kart, distance + place * rng.uniform(*CROWDED), beside, speed)


def _frame(job: dict, race, state) -> dict:
    """The info of one frame in the format of the dataset, and the images of its views."""
    # View k belongs to kart k, as in the dataset.
    views = sorted(range(len(job["karts"])), key=lambda player: state.players[player].kart.id)
    karts = sorted(state.karts, key=lambda kart: kart.id)
    render = [race.render_data[player] for player in views]
    return {
        "info": {
            "track": job["track"],
            "karts": [job["karts"][player] for player in views],
            "detections": [boxes(np.array(view.instance)) for view in render],
            "distance_down_track": [float(kart.distance_down_track) for kart in karts],
            "velocity": [list(map(float, kart.velocity)) for kart in karts],
        },
        "pictures": [_jpeg(np.array(view.image)) for view in render],
    }


def boxes(instances: np.ndarray) -> list:
    """The boxes of an instance mask (height, width): `[class_id, track_id, x1, y1, x2, y2]`.

    As in the dataset, corners are the first and last pixel of the object, and rows are sorted.
    """
    shift = pystk.object_type_shift
    found = []
    for value in filter(None, map(int, np.unique(instances))):
        rows, columns = np.nonzero(instances == value)
        corners = columns.min(), rows.min(), columns.max(), rows.max()
        found.append([value >> shift, value & ((1 << shift) - 1), *map(int, corners)])
    return found


def _jpeg(image: np.ndarray) -> str:
    file = io.BytesIO()
    picture = Image.fromarray(image).resize(IMAGE_SIZE, Image.Resampling.BILINEAR)
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Start the engine, then record one race for each line of standard input."""
    # The engine prints to standard output, too: redirect that to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(message: dict) -> None:
        answers.write(json.dumps(message, separators=(",", ":")) + "\n")
        answers.flush()

    graphics = pystk.GraphicsConfig.hd()
    graphics.screen_width, graphics.screen_height = FRAME_WIDTH, FRAME_HEIGHT
    for name in UNSEEN:
        setattr(graphics, name, False)
    pystk.init(graphics)
    send({"started": True})
    for text in sys.stdin:
        job = json.loads(text)
        record(job, send)
        send({"done": job["seed"]})
    answers.close()
    os._exit(0)  # the clean-up of the engine may hang


if __name__ == "__main__":
    main()
