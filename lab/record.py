"""python -m lab.record setup [--assets DIR]
python -m lab.record run --views 200 [--output data/recorded] [--tracks a,b] [--karts a,b]

Records labelled frames with the engine of the game, in the layout of the dataset. `setup` installs
the engine and the data of the game into your cache folder; no other command needs them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import read_json, write_json, writing
from homework.common.options import Count, Fraction, Natural
from homework.common.workers import num_cores
from homework.frames.split import INFO_SUFFIX
from homework.labels.questions import KARTS, TRACKS

from .recording.plan import KARTS_PER_RACE, Race, info_name, plan

if TYPE_CHECKING:
    from .recording.recorder import Recorder

NOT_IN_GAME = frozenset({"beastie", "hexley"})  # not in the free data from Debian
FREE_KARTS = tuple(kart for kart in KARTS if kart not in NOT_IN_GAME)
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
    import tempfile

    from .recording.recorder import Recorder
    from .recording.setup import install, last_line, versions

    start = time.perf_counter()
    installation = install(assets)
    print(f"installed in {time.perf_counter() - start:.0f} s")
    print("  ".join(f"{name} {version}" for name, version in versions().items()))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(installation, folder)
        race = Race("lighthouse", FREE_KARTS[:KARTS_PER_RACE], 0, ((0, "chase"),))
        failures = [result.failure for result in recorder.run([race], 1) if result.failure]
        if not (folder / info_name(0)).exists():
            log = recorder.log.read_text(errors="replace")
            raise InputError(f"{'; '.join(failures)}: {last_line(log)}")
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
    for name in karts or ():
        if name in NOT_IN_GAME:
            raise InputError(f"--karts: {name} is not in the game's free data; leave it out")
    chosen: dict[str, Any] = {
        "views": views,
        "tracks": names("--tracks", tracks, TRACKS),
        "karts": names("--karts", karts, FREE_KARTS),
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
    from .recording.recorder import Recorder
    from .recording.setup import find_installation, versions

    installation, manifest = find_installation(), folder / MANIFEST
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_folder(folder, chosen)
        described = {**chosen, "engine": versions(), "licence": LICENCE}
        described["races"] = [_line_up(race) for race in races]
        write_json(manifest, {"complete": False, **described})
        recorder = Recorder(installation, folder)
        failures = _drive(recorder, races, workers)
        missing = sum(len(recorder.missing(race)) for race in races)
        write_json(manifest, {"complete": not missing, **described})
    if not missing:
        recorder.log.unlink(missing_ok=True)
    frames = sum(len(race.frames) for race in races) - missing
    print(f"{folder}: {frames:,} frames, {len(failures)} lost to the engine")
    if missing:
        print(f"{missing:,} frames are missing; the same command records them")


def _drive(recorder: Recorder, races: Sequence[Race], workers: int) -> list[str]:
    """Record with a progress bar; returns the failures."""
    from tqdm import tqdm

    failures = []
    missing = [len(recorder.missing(race)) for race in races]
    todo = sum(len(race.karts) * frames for race, frames in zip(races, missing, strict=True))
    if there := sum(len(race.frames) for race in races) - sum(missing):
        print(f"{there:,} frames are there already")
    with tqdm(total=todo, unit="view", smoothing=0.05) as progress:
        for result in recorder.run(races, workers):
            progress.update(result.views)
            if result.failure:
                failures.append(result.failure)
                progress.write(f"{result.track}: {result.failure}")
    return failures


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
                    f"{folder}: holds a recording with {name} {_short(found)}, not "
                    f"{_short(value)}; give the same options, or another --output"
                )
    elif any(any(folder.glob(pattern)) for pattern in (f"*{INFO_SUFFIX}", "*_im.*")):
        raise InputError(
            f"{folder}: holds frames that were not recorded here; give another --output"
        )


def _line_up(race: Race) -> dict[str, Any]:
    moments = Counter(moment for _, moment in race.frames)
    described = {"track": race.track, "karts": list(race.karts), "seed": race.seed}
    return described | {"first_frame": f"{race.frames[0][0]:05x}", "frames": dict(moments)}


def _short(value: Any) -> str:
    text = ",".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def names(flag: str, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The names given for a flag, sorted; all known names if the flag was not given."""
    for name in given or ():
        if name not in known:
            near = get_close_matches(name, known, 1, cutoff=0)
            raise InputError(f"{flag}: no {name!r}; the nearest is {near[0]}")
    if len(set(given or ())) != len(given or ()):
        raise InputError(f"{flag}: a name is there twice")
    return sorted(given) if given else list(known)


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands({"setup": setup, "run": run})
