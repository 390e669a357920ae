"""Refuse validation data in training: by name of the split, by `image_file` and by content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..common.errors import InputError
from ..common.files import DATA_DIR, digest


def refuse_split(split: str) -> None:
    """Raise an InputError if the name is that of a validation split."""
    if is_validation(split):
        raise InputError(f"{split}: validation frames are never trained on; use the train split")


def refuse_pictures(paths: Iterable[str | Path], data_dir: Path) -> None:
    """Raise an InputError for the first picture of a validation split, or copy of one."""
    # Copies of validation frames in the data folder beside the package are refused, too.
    folders = [
        folder
        for parent in {data_dir.resolve(), DATA_DIR}
        if parent.is_dir()
        for folder in parent.iterdir()
        if is_validation(folder.name)
    ]
    known = {_digest(picture): picture for folder in folders for picture in folder.glob("*_im.jpg")}
    for path in map(Path, paths):
        below = path.relative_to(data_dir) if path.is_relative_to(data_dir) else path
        if any(map(is_validation, (*below.parts[:-1], path.resolve().parent.name))):
            raise InputError(f"{path}: lies in a validation split; train on the train split")
        twin = known.get(_digest(path)) if known else None
        if twin:
            raise InputError(f"{path}: the same picture as {twin}, which is for validation")


def is_validation(split: str) -> bool:
    """Whether the name is that of a validation split: valid, valid_grader, sample_valid."""
    return "valid" in split.casefold()


def _digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy it again") from None
