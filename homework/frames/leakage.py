"""Nothing ever trains on validation data: by split name, by `image_file` and by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..common.errors import InputError
from ..common.files import DATA_DIR, read_plain
from .pictures import MAX_PICTURE_BYTES


def refuse_split(split: str) -> None:
    """Refuse a split whose name says that it is for validation.

    Raises:
        InputError: it does.
    """
    if is_validation(split):
        raise InputError(f"{split}: validation frames are never trained on; use the train split")


def refuse_pictures(paths: Iterable[str | Path], data_dir: Path) -> None:
    """Refuse pictures that lie in a validation split, or equal one that does, byte for byte.

    Raises:
        InputError: names the first such picture.
    """
    # The kit's own data folder too: a copy of its validation frames is no training data either.
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
    """Whether a split's name says that it is for validation: valid, valid_grader, sample_valid."""
    return "valid" in split.casefold()


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(read_plain(path, MAX_PICTURE_BYTES), digest_size=16).digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy it again") from None
