"""python -m homework.download [--url URL] [--data_dir data] [--sha256 HEX] [--keep_archive]

Fetches the course's dataset (recorded frames) and unpacks it into `data/train`, `data/train_demo`,
`data/valid` and `data/valid_grader`. After an interruption the same command resumes. It writes
`data/manifest.json` last, when the dataset is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from .common import cli
from .common.errors import InputError
from .common.files import DATA_DIR, digest, read_json, shown, write_json, writing
from .common.options import data_folder
from .frames.fetch import fetch, read_state, require_address
from .frames.split import MANIFEST
from .frames.unpack import DamagedArchive, unpack

# The address from the course handout; not reachable from CI, so tests run on a local server.
DATASET_URL = "https://utexas.box.com/shared/static/qubjm5isldqvyimfj9rsmbnvnbezwcv4.zip"


def download(
    url: str = DATASET_URL,
    data_dir: str | None = None,
    sha256: str | None = None,
    keep_archive: bool = False,
) -> None:
    """Fetch and unpack the dataset, unless it is complete already.

    Args:
        url: address of a zip with the folders train, train_demo, valid and valid_grader.
        data_dir: the folder to unpack into. Default: data beside the package.
        sha256: the expected SHA-256 of the archive, if you know it.
        keep_archive: keep the zip in the data folder.
    """
    url, sha256 = str(url), _checked_sha256(sha256)
    require_address(url)
    folder = data_folder(data_dir)
    with writing(folder, "and run again"):  # network errors are caught where they arise
        folder.mkdir(parents=True, exist_ok=True)
        if _is_complete(folder, url, sha256):
            _remove_archive(folder, url, keep_archive)
            print(f"{folder / MANIFEST}: the dataset is complete, nothing to do")
            return
        manifest = _fetch_and_unpack(url, folder, sha256, keep_archive)
    for split, numbers in manifest["splits"].items():
        print(f"{folder / split}: {numbers['files']:,} files, {numbers['bytes'] / 1e6:,.1f} MB")
    here = "" if folder == DATA_DIR else f" --data_dir {shown(folder / 'train')}"
    print(f"complete: {folder / MANIFEST}; next: python -m homework.generate_qa generate{here}")


def _fetch_and_unpack(
    url: str, folder: Path, sha256: str | None, keep_archive: bool
) -> dict[str, Any]:
    archive, state = _work_files(folder, url)
    if not archive.exists():
        fetch(url, archive, state)
    print(f"{archive}: {archive.stat().st_size / 1e6:,.1f} MB, checking", flush=True)
    found = digest(archive)
    if sha256 and found != sha256:
        raise InputError(
            f"{archive}: has sha256 {found}, expected {sha256}; "
            "delete it to download it again, or correct --sha256"
        )
    try:
        splits = unpack(archive, folder)
    except DamagedArchive as error:
        archive.unlink()
        raise InputError(f"{error}; deleted it, so run the same command again") from None
    manifest = {
        "url": url,
        "etag": read_state(state).get("etag"),
        "size": archive.stat().st_size,
        "sha256": found,
        "splits": splits,
    }
    if hasattr(os, "sync"):
        os.sync()  # all files must be on the disk before the manifest is
    write_json(folder / MANIFEST, manifest)
    _remove_archive(folder, url, keep_archive)
    return manifest


def _work_files(folder: Path, url: str) -> tuple[Path, Path]:
    """The archive and the state of its download.

    Their names depend on the address, so a download from another address is never resumed.
    """
    stem = f"dataset-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    return folder / f"{stem}.zip", folder / f"{stem}.state.partial"


def _remove_archive(folder: Path, url: str, keep_archive: bool) -> None:
    """Remove the work files of a complete dataset, also after a run that was killed first."""
    archive, state = _work_files(folder, url)
    state.unlink(missing_ok=True)
    if not keep_archive:
        archive.unlink(missing_ok=True)


def _is_complete(folder: Path, url: str, sha256: str | None) -> bool:
    """Whether the manifest and all files that it counts exist; remove it if they do not."""
    path = folder / MANIFEST
    if not path.exists():
        return False
    manifest = read_json(path)
    try:
        source, found = manifest["url"], manifest["sha256"]
        counts = {split: int(numbers["files"]) for split, numbers in manifest["splits"].items()}
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        raise InputError(f"{path}: not written by this command; delete it and run again") from None
    if source != url:
        raise InputError(
            f"{path}: {folder} holds the dataset from {source}; give another --data_dir"
        )
    if sha256 not in (None, found):
        raise InputError(
            f"{path}: the archive had sha256 {found}, expected {sha256}; "
            "correct --sha256, or give another --data_dir"
        )
    for split, number in counts.items():
        if sum(len(files) for _, _, files in os.walk(folder / split)) < number:
            path.unlink()
            return False
    return True


def _checked_sha256(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        raise InputError(f"--sha256 {sha256!r}: not 64 hexadecimal digits")
    return str(sha256).lower()


if __name__ == "__main__":
    cli.run(download)
