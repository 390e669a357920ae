"""python lab/benchmarks/record.py [--tracks zengarden,candela_city] [--settings "hd,without ssao"]

Measures where the time of a recorded view goes, and how the look changes without an effect. Karts
are put in the same places each time and seen by both cameras, so only the effect differs.
The baseline is the engine's own `hd` with every effect. Needs `python -m lab.record setup`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.recording.process import GRAPHICS, engine_environment
from lab.recording.setup import find_installation, versions

VIEWER = Path(__file__).with_name("record_views.py")
FULL = GRAPHICS["full"]
EFFECTS = ("ssao", "dof", "motionblur", "bloom", "light_shaft", "mlaa", "glow", "dynamic_lights")
SETTINGS = {
    "full": FULL,
    "full again": FULL,  # how much two runs of the same differ
    **{f"without {effect}": {**FULL, effect: False} for effect in EFFECTS},
    "hd": GRAPHICS["hd"],
    "hd drawn at 300x200": {**GRAPHICS["hd"], "screen_width": 300, "screen_height": 200},
    "sd": GRAPHICS["sd"],
}


def main() -> None:
    """View the same places with each setting; print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", default="zengarden,candela_city,snowmountain")
    parser.add_argument("--settings", default=",".join(SETTINGS), help="beside full")
    arguments = parser.parse_args()
    tracks = arguments.tracks.split(",")
    chosen = {"full": FULL} | {name: SETTINGS[name] for name in arguments.settings.split(",")}
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        print(f"{'setting':26}{'CPU s/view':>11}{'/ full':>8}{'difference (of 255)':>21}")
        for setting, graphics in chosen.items():
            seconds, differences = [], []
            for track in tracks:
                folder = Path(name) / setting / track
                folder.mkdir(parents=True)
                seconds.append(view(track, graphics, folder))
                differences.append(difference(folder, Path(name) / "full" / track))
            rows[setting] = {
                "cpu_seconds_per_view": sum(seconds) / len(seconds),
                "mean_absolute_difference": sum(differences) / len(differences),
            }
            cost, apart = rows[setting].values()
            share = cost / rows["full"]["cpu_seconds_per_view"]
            print(f"{setting:26}{cost:11.3f}{share:8.2f}{apart:21.2f}", flush=True)
    record = {"benchmark": "record", "tracks": tracks, "engine": versions(), "settings": rows}
    print(json.dumps({**record, "machine": f"{platform.system()} {platform.machine()}"}))


def view(track: str, graphics: dict, folder: Path) -> float:
    """Save the pictures of a track's places as PNG; CPU seconds per view."""
    installation = find_installation()
    job = {"track": track, "graphics": graphics, "folder": str(folder)}
    done = subprocess.run(
        [str(installation.python), str(VIEWER), json.dumps(job)],
        env=engine_environment(installation),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{track}, {graphics}: {done.stderr[-300:]}")
    return float(done.stdout.split()[-1])


def difference(folder: Path, other: Path) -> float:
    """Mean absolute difference of the pictures in two folders, 0 to 255."""
    apart = []
    for file in sorted(folder.glob("*.png")):
        pair = [np.asarray(Image.open(path / file.name), np.float32) for path in (folder, other)]
        apart.append(float(np.abs(pair[0] - pair[1]).mean()))
    return sum(apart) / len(apart)


if __name__ == "__main__":
    main()
