"""One recording: its folder, its manifest and its missing races."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homework.common.errors import InputError
from homework.common.files import read_json, write_json, writing
from homework.common.workers import num_cores
from homework.frames.split import INFO_SUFFIX

from .plan import Race

if TYPE_CHECKING:
    from .recorder import Recorder

MANIFEST = "recording.json"
BESIDE = ("complete", "engine", "licence", "races")  # in the manifest, but not chosen
LICENCE = "that of SuperTuxKart's artwork, by its authors: see data/ATTRIBUTION.md"


def record(
    folder: Path,
    chosen: dict[str, Any],
    races: Sequence[Race],
    num_workers: int | None,
) -> None:
    """Record the missing frames of the races into a folder, and write its manifest.

    Args:
        chosen: the options that determine what is recorded, by name.
        num_workers: number of engines in parallel; None for one per core.

    Raises:
        InputError: the engine is not installed, or the folder holds other frames.
    """
    from .recorder import Recorder
    from .setup import find_installation, versions

    installation, manifest = find_installation(), folder / MANIFEST
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_folder(folder, chosen)
        described = {**chosen, "engine": versions(), "licence": LICENCE}
        described["races"] = [_line_up(race) for race in races]
        write_json(manifest, {"complete": False, **described})
        recorder = Recorder(installation, folder)
        failures = _drive(recorder, races, num_workers or num_cores())
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
