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
from collections.abc import Sequence
from pathlib import Path

from .common import options
from .common.errors import InputError
from .common.files import DATA_DIR
from .frames.split import info_name
from .labels.vocabulary import KARTS, TRACKS
from .recording.plan import KARTS_PER_RACE, Race, plan, plan_sample
from .recording.session import record

NOT_IN_GAME = frozenset({"beastie", "hexley"})  # Debian's free data is without them
FREE_KARTS = tuple(kart for kart in KARTS if kart not in NOT_IN_GAME)
SAMPLE_FRAMES = (4, 2)  # of each track, for training and for validation


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
    record(folder, chosen, races, num_workers, bool(cameras))


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
        record(folder / name, chosen, races, num_workers, cameras=False)
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


def _karts(given: str | Sequence[str] | None) -> list[str]:
    """The karts to record, each of which the game's free data must have."""
    for name in () if given is None else options.parts(given):
        if name in NOT_IN_GAME:
            raise InputError(f"--karts: {name} is not in the game's free data; leave it out")
    return options.names("--karts", given, FREE_KARTS)


if __name__ == "__main__":
    from .common.cli import run as run_commands

    run_commands({"setup": setup, "doctor": doctor, "run": run, "sample": sample, "verify": verify})
