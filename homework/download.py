"""python -m homework.download [--url URL] [--data_dir data] [--sha256 HEX] [--keep_archive]

Fetches the course's dataset (recorded frames) and unpacks it into `data/train`, `data/valid`
and `data/valid_grader`. Stopped at any time, the same command goes on where it stopped. The
last thing written is `data/manifest.json`; with it, the dataset is whole.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .common import cli
from .common.errors import InputError
from .common.files import DATA_DIR, disk_line, read_json, write_json
from .frames.unpack import DamagedArchive, check_space, unpack

# The address from the course handout; not reachable from CI, so tests run on a local server.
DATASET_URL = "https://utexas.box.com/shared/static/qubjm5isldqvyimfj9rsmbnvnbezwcv4.zip"
MANIFEST = "manifest.json"
ATTEMPTS = 3  # without a single new byte, before giving up
PAUSE_S = 2.0  # before the second attempt; doubles
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
# Not OSError as a whole: a full disk is one too, and no second attempt mends it.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def download(
    url: str = DATASET_URL,
    data_dir: str | None = None,
    sha256: str | None = None,
    keep_archive: bool = False,
) -> None:
    """Fetch and unpack the dataset; does nothing when it is there already.

    Args:
        url: a zip whose folders train, valid and valid_grader are wanted.
        data_dir: where to unpack it; `data` beside the package unless given.
        sha256: what the archive must hash to, if you know it.
        keep_archive: leave the zip in the data folder.
    """
    url, sha256 = str(url), _checked_sha256(sha256)
    if not re.match(r"https?://", url):
        raise InputError(f"--url {url!r}: not an address; it starts with http:// or https://")
    folder = Path(str(data_dir or DATA_DIR))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _is_complete(folder, url, sha256):
            _remove_archive(folder, url, keep_archive)
            print(f"{folder / MANIFEST}: the dataset is complete, nothing to do")
            return
        manifest = _fetch_and_unpack(url, folder, sha256, keep_archive)
    except OSError as error:  # network errors are dealt with where they arise
        raise InputError(_disk_line(folder, error)) from None
    for split, numbers in manifest["splits"].items():
        print(f"{folder / split}: {numbers['files']:,} files, {numbers['bytes'] / 1e6:,.1f} MB")
    print(f"complete: {folder / MANIFEST}; next: python -m homework.generate_qa generate")


def _fetch_and_unpack(
    url: str, folder: Path, sha256: str | None, keep_archive: bool
) -> dict[str, Any]:
    archive, state = _work_files(folder, url)
    if not archive.exists():
        fetch(url, archive, state)
    print(f"{archive}: {archive.stat().st_size / 1e6:,.1f} MB, checking", flush=True)
    with open(archive, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and digest != sha256:
        raise InputError(
            f"{archive}: has sha256 {digest}, expected {sha256}; "
            "delete it to download it again, or correct --sha256"
        )
    try:
        splits = unpack(archive, folder)
    except DamagedArchive as error:
        archive.unlink()
        raise InputError(f"{error}; deleted it, so run the same command again") from None
    manifest = {
        "url": url,
        "etag": _read_state(state).get("etag"),
        "size": archive.stat().st_size,
        "sha256": digest,
        "splits": splits,
    }
    if hasattr(os, "sync"):
        os.sync()  # every file on the disk before the manifest that vouches for it
    write_json(folder / MANIFEST, manifest)
    _remove_archive(folder, url, keep_archive)
    return manifest


def _work_files(folder: Path, url: str) -> tuple[Path, Path]:
    """The archive and what is known of it while it comes.

    Named after the address: what was fetched from another one is never continued.
    """
    stem = f"dataset-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    return folder / f"{stem}.zip", folder / f"{stem}.state.partial"


def _remove_archive(folder: Path, url: str, keep_archive: bool) -> None:
    """Of a complete dataset: also when the run that completed it was killed just after."""
    archive, state = _work_files(folder, url)
    state.unlink(missing_ok=True)
    if not keep_archive:
        archive.unlink(missing_ok=True)


def _is_complete(folder: Path, url: str, sha256: str | None) -> bool:
    """Whether the manifest is there and so are the files it counts; else it is removed."""
    path = folder / MANIFEST
    if not path.exists():
        return False
    manifest = read_json(path)
    try:
        source, digest = manifest["url"], manifest["sha256"]
        counts = {split: numbers["files"] for split, numbers in manifest["splits"].items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not written by this command; delete it and run again") from None
    if source != url:
        raise InputError(
            f"{path}: {folder} holds the dataset from {source}; give another --data_dir"
        )
    if sha256 not in (None, digest):
        raise InputError(f"{path}: the archive had sha256 {digest}, expected {sha256}")
    for split, number in counts.items():
        if sum(len(files) for _, _, files in os.walk(folder / split)) < number:
            path.unlink()
            return False
    return True


# --- fetching ---


def fetch(url: str, archive: Path, state: Path) -> None:
    """Fetch `url` into `archive`, going on from `<archive>.partial` where that can be trusted.

    `state` keeps the ETag (or date) of what the partial file is a part of.

    Raises:
        InputError: the server refuses, cannot be reached or stops; or the disk is full.
    """
    partial = archive.with_name(f"{archive.name}.partial")
    host = url.split("/")[2]
    failures = 0
    while True:
        before = _size(partial)
        try:
            _fetch_rest(url, partial, state)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the file there is shorter than our part of it
                partial.unlink()
                continue
            raise InputError(
                f"{url}: the server answers {error.code} {error.reason}; "
                "check --url, or try again later"
            ) from None
        except _NETWORK as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{host}: the connection failed ({reason or type(error).__name__}) with "
                    f"{_size(partial):,} bytes fetched; run the same command again to go on"
                ) from None
            time.sleep(PAUSE_S * 2**failures)
    os.replace(partial, archive)


def _fetch_rest(url: str, partial: Path, state: Path) -> None:
    """One request for what is missing; an OSError if the connection ends early."""
    from tqdm import tqdm

    have, known = _size(partial), _read_state(state)
    headers = {"User-Agent": "homework.download"}
    if have and known.get("etag"):
        # With If-Range, a server whose file has changed sends the whole of the new one.
        headers |= {"Range": f"bytes={have}-", "If-Range": known["etag"]}
    else:
        have = 0
    if have and have == known.get("size"):
        return
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if response.status == 206 and not _continues(response, have, known.get("size")):
            partial.unlink()
            raise ConnectionError("the server sent another part than asked for")
        if response.headers.get_content_type() == "text/html":
            raise InputError(f"{url}: sends a web page, not a zip; check --url")
        have = have if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        # The dataset is pictures, so unpacked it takes about as much room again.
        check_space(partial.parent, 2 * (total or 0) - have)
        with open(partial, "ab" if have else "wb") as file:
            if not have:
                write_json(state, {"etag": _validator(response), "size": total})
            with tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="download") as bar:
                while chunk := response.read(_CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and _size(partial) != total:
        raise ConnectionError(f"closed early, at {_size(partial):,} of {total:,} bytes")


def _continues(response: http.client.HTTPResponse, have: int, size: int | None) -> bool:
    """Whether a partial answer starts where our part ends and is of a file of the same size."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    return bool(found) and int(found[1]) == have and found[2] in ("*", str(size))


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What If-Range may be asked with: a strong ETag, or else the date of last change."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _read_state(state: Path) -> dict[str, Any]:
    return read_json(state) if state.exists() else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checked_sha256(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        raise InputError(f"--sha256 {sha256!r}: not 64 hexadecimal digits")
    return str(sha256).lower()


def _disk_line(folder: Path, error: OSError) -> str:
    return f"{disk_line(error, folder)}, and run again"


if __name__ == "__main__":
    cli.run(download)
