"""python -m lab.record setup [--assets DIR]
python -m lab.record run --views 200 [--output data/recorded] [--tracks a,b] [--karts a,b]

Records labelled frames with the engine of the game, in the layout of the dataset. `setup` installs
the engine and the data of the game into your cache folder; no other command needs them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from homework.common import options
from homework.common.errors import InputError
from homework.common.options import Count, Fraction, Natural
from homework.labels.questions import KARTS, TRACKS

from .recording.plan import KARTS_PER_RACE, Race, info_name, plan
from .recording.session import record

NOT_IN_GAME = frozenset({"beastie", "hexley"})  # not in the free data from Debian
FREE_KARTS = tuple(kart for kart in KARTS if kart not in NOT_IN_GAME)


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

    from .recording.process import last_line
    from .recording.recorder import Recorder
    from .recording.setup import install, versions

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
    record(folder, chosen, races, num_workers)


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
