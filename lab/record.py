"""python -m lab.record setup [--assets DIR]
python -m lab.record doctor
python -m lab.record run --views 200 [--output data/recorded] [--tracks a,b] [--karts a,b]
python -m lab.record sample
python -m lab.record verify data/recorded
python -m lab.record count data/train,data/recorded
python -m lab.record compare data/recorded --against data/train [--save looks.png]

Records labelled frames with the engine of the game, in the layout of the dataset. `setup` installs
the engine and the data of the game into your cache folder; no other command needs them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from homework.common import options
from homework.common.errors import InputError
from homework.common.files import write_bytes
from homework.common.options import Count, Fraction, Natural
from homework.common.outputs import Outputs
from homework.common.workers import num_cores
from homework.frames.images import save_image
from homework.frames.split import list_split
from homework.inspection.draw import check_image
from homework.labels.questions import KARTS, TRACKS

from .options import names
from .recording.plan import KARTS_PER_RACE, Race, info_name, plan, plan_sample
from .recording.session import SHARES, record

NOT_IN_GAME = frozenset({"beastie", "hexley"})  # not in the free data from Debian
FREE_KARTS = tuple(kart for kart in KARTS if kart not in NOT_IN_GAME)
SAMPLE_FRAMES = (4, 2)  # per track, for training and for validation


@options.checked
def setup(assets: Path | None = None, compile: bool = False) -> None:
    """Install the engine and the data of the game, about 0.9 GB, and render one frame.

    Args:
        assets: a data folder of SuperTuxKart 1.4. Default: fetch the Debian package.
        compile: compile the engine even if there is a wheel for it.
    """
    from .recording.setup import install

    start = time.perf_counter()
    install(assets, compile)
    print(f"installed in {time.perf_counter() - start:.0f} s")
    doctor()


def doctor() -> None:
    """Print what is installed and render one frame.

    Raises:
        InputError: the engine does not work; the message says why.
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


@options.checked
def run(
    views: Count,
    output: Path | None = None,
    tracks: Sequence[str] | None = None,
    karts: Sequence[str] | None = None,
    seed: Natural = 0,
    quality: str = "hd",
    num_workers: Count | None = None,
    cameras: bool = False,
    packs: Fraction | Literal[0] = 0.0,
    tiny: Fraction | Literal[0] = 0.0,
) -> None:
    """Record views into a folder that `generate_qa generate` and `finetune train` can use.

    After an interruption the same command records the missing frames.

    Args:
        views: least number of views. A frame has one view per kart of the race, at most ten.
        output: the folder. Default: data/recorded.
        tracks: names separated by commas. Default: the 21 tracks of the dataset.
        karts: names separated by commas. Default: the 16 karts in the free data of the game.
        seed: seed of line-ups and races.
        quality: "full" draws every effect, "hd" those visible at 150x100, "sd" few.
        num_workers: number of engines in parallel. Default: one per core.
        cameras: write camera matrices and poses of the karts beside each frame, for `verify`.
        packs: share of the frames, between 0 and 1, with karts placed close together.
        tiny: share of the frames with karts placed in a row, so that a view shows its own kart
            large and another one tiny; with --packs 1 at the most.
    """
    from .recording.process import GRAPHICS

    if quality not in GRAPHICS:
        raise InputError(f"--quality: {quality!r}; give one of {', '.join(GRAPHICS)}")
    if packs + tiny > 1:
        raise InputError(f"--packs {packs} and --tiny {tiny}: give shares of 1 together at most")
    folder = options.data_folder(output, "recorded")
    chosen = {
        "views": views,
        "tracks": names("--tracks", tracks, TRACKS),
        "karts": _karts(karts),
        "seed": seed,
        "quality": quality,
    }
    chosen |= {name: share for name, share in zip(SHARES, (packs, tiny), strict=True) if share}
    races = plan(views, chosen["tracks"], chosen["karts"], seed, packs, tiny)
    record(folder, chosen, races, num_workers, cameras)


@options.checked
def sample(output: Path | None = None, seed: Natural = 0, num_workers: Count | None = None) -> None:
    """Record the two small splits of the repository, and name the authors of their artwork.

    Args:
        output: the data folder. Default: data beside the package.
        seed: seed of line-ups and races.
        num_workers: number of engines in parallel. Default: one per core.
    """
    folder = options.data_folder(output)
    train, valid = plan_sample(TRACKS, FREE_KARTS, SAMPLE_FRAMES, seed)
    for name, races in (("sample", train), ("sample_valid", valid)):
        chosen = {"command": "python -m lab.record sample", "seed": seed, "quality": "hd"}
        record(folder / name, chosen, races, num_workers, cameras=False)
    from .recording.attribution import attribution
    from .recording.setup import copyright_file

    page = attribution(copyright_file().read_text(encoding="utf-8"))
    write_bytes(folder / "ATTRIBUTION.md", page.encode())


@options.checked
def verify(folder: Path) -> None:
    """Check the boxes of a recording made with `--cameras True` against the poses of the karts.

    Args:
        folder: the folder of the recording.
    """
    from .recording.projection import verify_folder

    verify_folder(folder)


@options.checked
def count(folders: Sequence[str]) -> None:
    """Print how many views show each kart on each track, real and recorded, and which are tiny.

    Args:
        folders: with commas between, such as data/train,data/recorded.
    """
    from .recording import counts

    for line in counts.lines(counts.count([options.path("--folders", name) for name in folders])):
        print(line)


@options.checked
def compare(
    folder: Path,
    against: Path,
    save: Path | None = None,
    num_workers: Count | None = None,
    overwrite: bool = False,
) -> None:
    """Compare what the views of two folders look like: karts, boxes, light and colours.

    Args:
        folder: a split's folder, such as data/recorded.
        against: the folder of another split.
        save: draw the comparison into this image file.
        num_workers: number of processes. Default: one per core.
        overwrite: replace a file that this command did not write, or that was changed since.
    """
    from .recording.appearance import comparison_figure, measure, table

    outputs = Outputs("compare", overwrite)
    if save:
        check_image(save)
        outputs.check(save)
    splits = list_split(folder), list_split(against)
    ours, others = (measure(split, num_workers or num_cores()) for split in splits)
    print(*table(ours, others), sep="\n")
    if save:
        save_image(comparison_figure(ours, others), save, outputs.open, dpi=80)
        print(f"wrote {save}")


def _karts(given: Sequence[str] | None) -> list[str]:
    """The karts to record, each of which the game's free data must have."""
    for name in given or ():
        if name in NOT_IN_GAME:
            raise InputError(f"--karts: {name} is not in the game's free data; leave it out")
    return names("--karts", given, FREE_KARTS)


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands(
        {
            "setup": setup,
            "doctor": doctor,
            "run": run,
            "sample": sample,
            "verify": verify,
            "count": count,
            "compare": compare,
        }
    )
