"""What a training learns from, as one SHA-256: checkpoints of other data are never continued."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..common.errors import InputError
from ..common.files import digest


def pairs_digest(items: Iterable[Mapping[str, str]]) -> str:
    """SHA-256 of pairs in their order, and of the bytes of their pictures.

    It stays the same where the data folder is moved or unpacked again.

    Args:
        items: as of `VQADataset`.

    Raises:
        InputError: a picture cannot be read.
    """
    found = hashlib.sha256()
    paths = dict.fromkeys(item["image_path"] for item in items)
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    for item in items:
        name = Path(item["image_path"]).relative_to(root).as_posix()
        found.update(json.dumps([name, item["question"], item["answer"]]).encode())
    found.update(files_digest(map(Path, paths)).encode())
    return found.hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of files, in their order.

    Raises:
        InputError: one cannot be read.
    """
    found = hashlib.sha256()
    for path in paths:
        try:
            found.update(json.dumps([path.name, digest(path)]).encode())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); copy it again") from None
    return found.hexdigest()
