"""The data of a GPU run: archives unpacked, and races that are kept from learning."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from homework.common.errors import InputError
from homework.frames.split import frame_of, held_out, list_split, read_info

from .recording.session import MANIFEST

HELD_OUT_RACES = "held_out_races"  # the split that they become
SHARE = 0.1  # of the tracks


def check_archive(named: str, archive: Path) -> None:
    """Raise InputError, which begins with the option `named`, if this is no tar file."""
    try:
        reason = None if tarfile.is_tarfile(archive) else "not a tar file"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise InputError(f"{named}: {archive} cannot be unpacked ({reason})")


def unpack(archive: Path, data: Path) -> Path:
    """Unpack a tar file of one split into the data folder; the split's folder.

    Raises:
        InputError: it is no tar file, it does not hold one folder, or that is there already.
    """
    try:
        with tarfile.open(archive) as source:
            members = source.getmembers()
            tops = {member.name.removeprefix("./").split("/")[0] for member in members} - {"", "."}
            if len(tops) != 1:
                names = ", ".join(sorted(tops)[:3]) or "nothing"
                raise InputError(
                    f"{archive}: holds {names} at its top, not the folder of one split; pack it "
                    "with tar -C data -cf train.tar train"
                )
            folder = data / tops.pop()
            if folder.exists():
                raise InputError(f"{archive}: a second archive with a folder {folder.name}")
            data.mkdir(parents=True, exist_ok=True)
            source.extractall(data, members, filter="data")
    except (tarfile.TarError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{archive}: cannot be unpacked ({reason})") from None
    list_split(folder)
    return folder


def hold_races_out(folders: Sequence[Path], data: Path) -> list[str]:
    """Keep the dataset's races on a tenth of its tracks from learning; the tracks' names.

    The dataset has one race with one line-up for each track. Those of the first folder become a
    split of their own, HELD_OUT_RACES, and those of its other folders are removed. Recordings of
    the tracks stay: what is measured is whether their line-ups carry over to real races.
    """
    real = [folder for folder in folders if not (folder / MANIFEST).exists()]
    tracks = {
        folder: {name: read_info(folder / name)["track"] for name in list_split(folder).info_files}
        for folder in real
    }
    if folders[0] not in tracks:
        raise InputError(f"{folders[0].name}: a recording; give the dataset's train split first")
    chosen = held_out(tracks[folders[0]].values(), SHARE)
    for folder in real if chosen else ():
        out = {name for name, track in tracks[folder].items() if track in chosen}
        if len(out) == len(tracks[folder]):
            raise InputError(f"{folder.name}: holds no race but those on {', '.join(chosen)}")
        frames = {frame_of(name) for name in out}
        target = data / HELD_OUT_RACES
        target.mkdir(exist_ok=True)
        for name in list_split(folder).names:
            if frame_of(name) in frames and folder == folders[0]:
                (folder / name).rename(target / name)
            elif frame_of(name) in frames:
                (folder / name).unlink()
    return sorted(chosen)
