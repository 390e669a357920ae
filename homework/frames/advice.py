"""Advice about missing or damaged files of the dataset: the command that brings them back."""

from __future__ import annotations

from pathlib import Path

from ..common.files import DATA_DIR, shown

SPLITS = ("train", "train_demo", "valid", "valid_grader")  # of the course's dataset
MANIFEST = "manifest.json"  # in the data folder: the download is complete


def how_to_download(data_dir: Path) -> str:
    """What brings back every file of the dataset that is missing or damaged."""
    here = "" if data_dir.resolve() == DATA_DIR.resolve() else f" --data_dir {shown(data_dir)}"
    manifest = data_dir / MANIFEST
    # With a manifest `download` only counts the files, and files of pairs count too.
    first = f"delete {shown(manifest)} and " if manifest.exists() else ""
    return f"{first}run python -m homework.download{here}"


def how_to_repair(file: Path) -> str:
    """What to do about a damaged file of a split."""
    if file.absolute().parent.name in SPLITS:
        return f"correct it, or {how_to_download(file.absolute().parent.parent)}"
    return "correct it, or remove it"
