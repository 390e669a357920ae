"""python -m lab.record setup [--assets DIR]
python -m lab.record run --views 200 [--output data/recorded] [--tracks a,b] [--karts a,b]

Records labelled frames with the engine of the game, in the layout of the dataset. `setup` installs
the engine and the data of the game into your cache folder; no other command needs them.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import read_json, write_json, writing
from homework.common.options import Count, Fraction, Natural
from homework.common.workers import num_cores
from homework.frames.split import INFO_SUFFIX
from homework.labels.questions import KARTS, TRACKS

from .recording.plan import KARTS_PER_RACE, Race, plan

FREE_KARTS = tuple(kart for kart in KARTS if kart not in ("beastie", "hexley"))  # in Debian's data
MANIFEST = "recording.json"
BESIDE = ("complete", "engine", "licence", "races")  # in the manifest, but not chosen
LICENCE = "that of SuperTuxKart's artwork, by its authors: see data/ATTRIBUTION.md"


@options.checked
def setup(assets: Path | None = None) -> None:
    """Install the engine and the data of the game, about 0.9 GB, and render one frame.

    What is there already is not fetched again.

    Args:
        assets: a data folder of SuperTuxKart 1.4. Default: fetch the Debian package.

    Raises:
        InputError: something is missing, or the engine does not work; the message says why.
    """
    from .recording.recorder import Recorder
    from .recording.setup import install, last_line

    installation = install(assets)
    print("  ".join(f"{name} {version}" for name, version in installation.versions.items()))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        recorder = Recorder(installation, Path(name))
        race = Race("lighthouse", FREE_KARTS[:KARTS_PER_RACE], 0, ((0, "chase"),))
        (result,) = recorder.run([race], 1)
        if result.failure:
            log = recorder.log.read_text(errors="replace")
            raise InputError(f"{result.failure}: {last_line(log)}")
    print(f"one frame of ten views in {time.perf_counter() - start:.0f} s: the recorder works")


@options.checked
def run(
    views: Count,
    output: Path | None = None,
    tracks: Sequence[str] | None = None,
    karts: Sequence[str] | None = None,
    seed: Natural = 0,
    num_workers: Count | None = None,
    packs: Fraction | Literal[0] = 0.0,
) -> None:
    """Record views into a folder that `generate_qa generate` and `finetune train` can use.

    After an interruption the same command records the missing frames.

    Args:
        views: least number of views. A frame has one view per kart of the race, at most ten.
        output: the folder. Default: data/recorded.
        tracks: names separated by commas. Default: the 21 tracks of the dataset.
        karts: names separated by commas. Default: the 16 karts in the free data of the game.
        seed: seed of line-ups and races.
        num_workers: number of engines in parallel. Default: one per core.
        packs: share of the frames, between 0 and 1, with karts placed close together.
    """
    folder = options.data_folder(output, "recorded")
    for flag, given, known in (("--tracks", tracks, TRACKS), ("--karts", karts, FREE_KARTS)):
        if wrong := [name for name in given or () if name not in known]:
            raise InputError(f"{flag}: no {wrong[0]!r} to record; give some of {','.join(known)}")
    chosen: dict[str, Any] = {
        "views": views,
        "tracks": sorted(set(tracks)) if tracks else list(TRACKS),
        "karts": sorted(set(karts)) if karts else list(FREE_KARTS),
        "seed": seed,
        "quality": "hd",
    }
    chosen |= {"packs": packs} if packs else {}
    races = plan(views, chosen["tracks"], chosen["karts"], seed, packs)
    _record(folder, chosen, races, num_workers or num_cores())


def _record(folder: Path, chosen: dict[str, Any], races: Sequence[Race], workers: int) -> None:
    """Record the missing frames of the races into a folder, and write its manifest.

    Args:
        chosen: the options that determine what is recorded, by name.
    """
    from tqdm import tqdm

    from .recording.recorder import Recorder
    from .recording.setup import find_installation

    installation, manifest = find_installation(), folder / MANIFEST
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_folder(folder, chosen)
        described = {**chosen, "engine": installation.versions, "licence": LICENCE}
        described["races"] = [_line_up(race) for race in races]
        write_json(manifest, {"complete": False, **described})
        recorder = Recorder(installation, folder)
        frames, views = sum(len(race.frames) for race in races), len(races[0].karts)  # of a frame
        left, lost = sum(len(recorder.missing(race)) for race in races), 0
        if left < frames:
            print(f"{frames - left:,} frames are there already")
        with tqdm(total=left * views, unit="view", smoothing=0.05) as progress:
            for result in recorder.run(races, workers):
                progress.update(result.views)
                if result.failure:
                    lost += 1
                    progress.write(f"{result.track}: {result.failure}")
        left = sum(len(recorder.missing(race)) for race in races)
        write_json(manifest, {"complete": not left, **described})
    if not left:
        recorder.log.unlink(missing_ok=True)
    print(f"{folder}: {frames - left:,} frames, {lost} lost to the engine")
    if left:
        print(f"{left:,} frames are missing; the same command records them")


def _check_folder(folder: Path, chosen: dict[str, Any]) -> None:
    """Refuse a folder with frames of another recording or from elsewhere."""
    manifest = folder / MANIFEST
    if manifest.exists():
        before = read_json(manifest)
        if not isinstance(before, dict):
            raise InputError(f"{manifest}: not written by this command; give another --output")
        for name in (name for name in {**chosen, **before} if name not in BESIDE):
            # A share of 0 is left out.
            if (found := before.get(name, 0)) != (value := chosen.get(name, 0)):
                raise InputError(
                    f"{folder}: holds a recording with {name} {shorten(str(found), 40)}, not "
                    f"{shorten(str(value), 40)}; give the same options, or another --output"
                )
    elif any(any(folder.glob(pattern)) for pattern in (f"*{INFO_SUFFIX}", "*_im.*")):
        raise InputError(
            f"{folder}: holds frames that were not recorded here; give another --output"
        )


def _line_up(race: Race) -> dict[str, Any]:
    moments = Counter(moment for _, moment in race.frames)
    described = {"track": race.track, "karts": list(race.karts), "seed": race.seed}
    return described | {"first_frame": f"{race.frames[0][0]:05x}", "frames": dict(moments)}


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands({"setup": setup, "run": run})
