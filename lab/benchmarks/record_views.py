"""The engine's side of lab/benchmarks/record.py: karts in fixed places, seen by both cameras.

Runs in the engine's own Python. The last line that it prints is the CPU seconds per view.
"""

import json
import os
import sys
import time
from pathlib import Path

import pystk  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "recording"))

import engine
import numpy as np
from PIL import Image

KARTS = ("adiumy", "emule", "wilber", "puffy", "gnu", "suzanne", "kiki", "xue", "tux", "nolok")
PLACES = (0.02, 0.5)  # of the track's length
STEPS = 2  # drawn at each place with each camera; the last is kept


def main() -> None:
    """View two places with two cameras: forty pictures."""
    job = json.loads(sys.argv[1])
    settings = {"screen_width": 600, "screen_height": 400, **job["graphics"]}
    graphics = getattr(pystk.GraphicsConfig, settings.pop("preset"))()
    for name, value in settings.items():
        setattr(graphics, name, value)
    pystk.init(graphics)
    race = pystk.Race(engine.race_config({"track": job["track"], "karts": KARTS, "seed": 1}))
    race.start()
    race.step()
    world, line = engine.World(), engine.Line()
    race.step()
    start, views = time.process_time(), 0
    for camera in ("chase", "end"):
        for player in range(len(KARTS)):
            world.use_camera(player, camera)
        for place in PLACES:
            for kart in range(len(KARTS)):
                line.put(kart, place * line.length + 5 * kart, (-1.5, 1.5)[kart % 2], 5.0)
            for _ in range(STEPS):
                race.step()
            views += STEPS * len(KARTS)
            for player, data in enumerate(race.render_data):
                picture = Image.fromarray(np.array(data.image)).resize(
                    (150, 100), Image.Resampling.BILINEAR
                )
                picture.save(f"{job['folder']}/{camera}_{place}_{player}.png")
    print((time.process_time() - start) / views, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
