"""python -m homework.record setup [--assets DIR]
python -m homework.record doctor
python -m homework.record run --views 200 [--output data/recorded] [--tracks a,b] [--karts a,b]
python -m homework.record sample
python -m homework.record verify data/recorded

Records labelled frames with the game's own engine, in the dataset's layout. `setup` installs the
engine and the game's data into your cache folder; the rest of the kit needs neither.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .files import DATA_DIR, InputError, read_json, write_json, writing
from .frames import INFO_SUFFIX, info_name
from .names import KARTS, TRACKS
from .recording.plan import KARTS_PER_RACE, Race, plan, plan_sample

if TYPE_CHECKING:
    from .recording.recorder import Recorder

MANIFEST = "recording.json"
NOT_IN_GAME = frozenset({"beastie", "hexley"})  # Debian's free data is without them
FREE_KARTS = tuple(kart for kart in KARTS if kart not in NOT_IN_GAME)
SAMPLE_FRAMES = (4, 2)  # of each track, for training and for validation
LICENCE = "that of SuperTuxKart's artwork, by its authors: see data/ATTRIBUTION.md"


def setup(assets: str | None = None, compile: bool = False) -> None:
    """Install the engine and the game's data, some 0.9 GB, and render one frame.

    Args:
        assets: a data folder of SuperTuxKart 1.4 to use; Debian's package if not given.
        compile: compile the engine even where there is a wheel for it.
    """
    from .recording.setup import install

    start = time.perf_counter()
    install(options.path("--assets", assets), bool(compile))
    print(f"installed in {time.perf_counter() - start:.0f} s")
    doctor()


def doctor() -> None:
    """Render one frame and say what is installed.

    Raises:
        InputError: the engine does not work; why.
    """
    import tempfile

    from .recording.process import last_line
    from .recording.recorder import Recorder
    from .recording.setup import find_installation, versions

    installation = find_installation()
    print("  ".join(f"{name} {version}" for name, version in versions().items()))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(installation, folder, "sd")
        race = Race("lighthouse", FREE_KARTS[:KARTS_PER_RACE], 0, ((0, "chase"),))
        failures = [result.failure for result in recorder.run([race], 1) if result.failure]
        if not (folder / info_name(0)).exists():
            log = recorder.log.read_text(errors="replace")
            raise InputError(f"{'; '.join(failures)}: {last_line(log)}")
    about = recorder.about
    print(f"{len(about['karts'])} karts, {len(about['tracks'])} tracks")
    print(f"one frame of ten views in {time.perf_counter() - start:.0f} s: the recorder works")


def run(
    views: int,
    output: str | None = None,
    tracks: str | Sequence[str] | None = None,
    karts: str | Sequence[str] | None = None,
    seed: int = 0,
    quality: str = "hd",
    num_workers: int | None = None,
    cameras: bool = False,
    packs: float = 0.0,
) -> None:
    """Record views into a folder that `generate_qa`, `check` and `train` take as it is.

    Given again after it was stopped, it records what is missing.

    Args:
        views: how many, at least; a frame has as many as the race has karts, ten at most.
        output: the folder; data/recorded if not given.
        tracks: names with commas between; the dataset's 21 if not given.
        karts: names with commas between; the 16 that the game's free data has if not given.
        seed: of line-ups and races.
        quality: "full" draws every effect, "hd" those that are seen at 150x100, "sd" few.
        num_workers: engines at a time; one per core if not given.
        cameras: write camera matrices and karts' poses beside each frame, for `verify`.
        packs: share of the frames, between 0 and 1, whose karts are put close together.
    """
    from .recording.process import GRAPHICS

    options.whole("--views", views, 1)
    options.whole("--seed", seed, 0)
    if quality not in GRAPHICS:
        raise InputError(f"--quality: {quality!r}; give one of {', '.join(GRAPHICS)}")
    folder = options.path("--output", output) or DATA_DIR / "recorded"
    chosen = {
        "views": views,
        "tracks": options.names("--tracks", tracks, TRACKS),
        "karts": _karts(karts),
        "seed": seed,
        "quality": quality,
    }
    if packs:  # a recording without says nothing of it, so that older ones can be continued
        chosen["packs"] = options.number("--packs", packs, above=0, below=1)
    races = plan(views, chosen["tracks"], chosen["karts"], seed, packs)
    _record(folder, chosen, races, num_workers, bool(cameras))


def sample(output: str | None = None, seed: int = 0, num_workers: int | None = None) -> None:
    """Record the two small splits that the repository ships, and say who made what they show.

    Args:
        output: the data folder; the one beside the package if not given.
        seed: of line-ups and races.
        num_workers: engines at a time; one per core if not given.
    """
    folder = options.path("--output", output) or DATA_DIR
    options.whole("--seed", seed, 0)
    train, valid = plan_sample(TRACKS, FREE_KARTS, SAMPLE_FRAMES, seed)
    for name, races in (("sample", train), ("sample_valid", valid)):
        chosen = {"command": "python -m homework.record sample", "seed": seed, "quality": "hd"}
        _record(folder / name, chosen, races, num_workers, cameras=False)
    from .recording.attribution import write_attribution
    from .recording.setup import copyright_file

    write_attribution(copyright_file(), folder / "ATTRIBUTION.md")


def verify(folder: str) -> None:
    """Compare the boxes of a recording made with `--cameras True` with the karts' poses.

    Args:
        folder: the recording's.
    """
    from .recording.projection import verify_folder

    verify_folder(options.path("FOLDER", folder))


def _record(
    folder: Path,
    chosen: dict[str, Any],
    races: Sequence[Race],
    num_workers: int | None,
    cameras: bool,
) -> None:
    from .recording.recorder import Recorder
    from .recording.setup import find_installation, versions
    from .workers import num_cores

    workers = num_cores() if num_workers is None else options.whole("--num_workers", num_workers, 1)
    installation = find_installation()
    manifest = folder / MANIFEST
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_folder(folder, chosen)
        record = {
            **chosen,
            "engine": versions(),
            "licence": LICENCE,
            "races": [_line_up(race) for race in races],
        }
        write_json(manifest, {"complete": False, **record})
        recorder = Recorder(installation, folder, chosen["quality"], cameras)
        failures = _drive(recorder, races, workers)
        missing = sum(len(recorder.missing(race)) for race in races)
        write_json(manifest, {"complete": not missing, **record})
    if not missing:
        recorder.log.unlink(missing_ok=True)
    frames = sum(len(race.frames) for race in races) - missing
    print(f"{folder}: {frames:,} frames, {len(failures)} lost to the engine")
    if missing:
        print(f"{missing:,} frames are missing; the same command records them")


def _drive(recorder: Recorder, races: Sequence[Race], workers: int) -> list[str]:
    """Record with a progress bar; what failed."""
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
    """Refuse a folder with frames of another recording, or of none."""
    manifest = folder / MANIFEST
    if manifest.exists():
        before = read_json(manifest)
        for name, value in chosen.items():
            if before.get(name) != value:
                raise InputError(
                    f"{folder}: holds a recording with {name} {_short(before.get(name))}, not "
                    f"{_short(value)}; give the same options, or another --output"
                )
    elif any(folder.glob(f"*{INFO_SUFFIX}")):
        raise InputError(
            f"{folder}: holds frames that were not recorded here; give another --output"
        )


def _line_up(race: Race) -> dict[str, Any]:
    moments = Counter(moment for _, moment in race.frames)
    return {
        "track": race.track,
        "karts": list(race.karts),
        "seed": race.seed,
        "first_frame": f"{race.frames[0][0]:05x}",
        "frames": dict(moments),
    }


def _karts(given: str | Sequence[str] | None) -> list[str]:
    """The karts to record, each of which the game's free data must have."""
    for name in () if given is None else options.parts(given):
        if name in NOT_IN_GAME:
            raise InputError(f"--karts: {name} is not in the game's free data; leave it out")
    return options.names("--karts", given, FREE_KARTS)


def _short(value: Any) -> str:
    text = ",".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


if __name__ == "__main__":
    from .cli import run as run_commands

    run_commands({"setup": setup, "doctor": doctor, "run": run, "sample": sample, "verify": verify})
