"""python -m homework.download [--url URL] [--data_dir data] [--sha256 HEX] [--keep_archive]

Fetches the course's dataset (recorded frames) and unpacks it into `data/train`, `data/train_demo`,
`data/valid` and `data/valid_grader`. After an interruption the same command resumes. It writes
`data/manifest.json` last, when the dataset is complete.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .common import cli, options
from .common.errors import InputError, one_line
from .common.files import DATA_DIR, digest, read_json, shown, write_json, writing
from .frames.split import MANIFEST
from .frames.unpack import DamagedArchive, check_space, unpack

# The address from the course handout; not reachable from CI, so tests run on a local server.
DATASET_URL = "https://utexas.box.com/shared/static/qubjm5isldqvyimfj9rsmbnvnbezwcv4.zip"
ATTEMPTS = 3  # without a new byte, before giving up
PAUSE_S = 2.0  # before the second attempt; doubles
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
# Not OSError as a whole: it includes a full disk, where a second attempt would not help.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


@options.checked
def download(
    url: str = DATASET_URL,
    data_dir: Path | None = None,
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
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"--sha256: give the 64 hexadecimal digits of the archive, not {sha256!r}")
    folder = options.data_folder(data_dir)
    # Named by the address, so that no other download is resumed.
    archive = folder / f"dataset-{hashlib.sha256(url.encode(errors='replace')).hexdigest()[:8]}.zip"
    state = archive.with_suffix(".state.partial")
    with writing(folder, "and run again"):  # network errors are caught where they arise
        folder.mkdir(parents=True, exist_ok=True)
        complete = _is_complete(folder, url, sha256)
        if not complete:
            if not archive.exists():
                fetch(url, archive, state)
            manifest = _unpack(url, archive, state, folder, sha256)
        state.unlink(missing_ok=True)  # also after a run that was killed before
        if not keep_archive:
            archive.unlink(missing_ok=True)
    if complete:
        print(f"{folder / MANIFEST}: the dataset is complete, nothing to do")
        return
    for split, numbers in manifest["splits"].items():
        print(f"{folder / split}: {numbers['files']:,} files, {numbers['bytes'] / 1e6:,.1f} MB")
    here = "" if folder == DATA_DIR else f" --data_dir {shown(folder / 'train')}"
    print(f"complete: {folder / MANIFEST}; next: python -m homework.generate_qa generate{here}")


def _unpack(
    url: str, archive: Path, state: Path, folder: Path, sha256: str | None
) -> dict[str, Any]:
    """Unpack the archive, remove it if it is damaged, and write the manifest."""
    print(f"{archive}: {archive.stat().st_size / 1e6:,.1f} MB, checking", flush=True)
    found = digest(archive)
    _compare(archive, found, sha256)
    try:
        splits = unpack(archive, folder)
    except DamagedArchive as error:
        archive.unlink()
        raise InputError(f"{error}; deleted it; check --url and run again") from None
    manifest = {
        "url": url,
        "etag": read_state(state).get("etag"),
        "size": archive.stat().st_size,
        "sha256": found,
        "splits": splits,
    }
    if sys.platform != "win32":
        os.sync()  # all files must be on the disk before the manifest is
    write_json(folder / MANIFEST, manifest)
    return manifest


def _compare(file: Path, found: str, sha256: str | None) -> None:
    if sha256 is not None and found != sha256.lower():
        fix = "delete it to download again, or correct --sha256"
        raise InputError(f"{file}: SHA-256 of the archive is {found}, expected {sha256}; {fix}")


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
    _compare(path, found, sha256)
    for split, number in counts.items():
        if sum(len(files) for _, _, files in os.walk(folder / split)) < number:
            path.unlink()
            return False
    return True


# --- a large file over HTTP, resumed after an interruption if it has not changed ---


def fetch(url: str, archive: Path, state: Path) -> None:
    """Download `url` to `archive` by way of `<archive>.partial`; `state` keeps its ETag and size.

    Raises InputError if the server refuses, cannot be reached or stops, or the disk is full.
    """
    partial = archive.with_name(f"{archive.name}.partial")
    if partial.is_symlink():
        partial.unlink()  # else the bytes would go where it leads
    failures = 0
    while True:
        before = _size(partial)
        try:
            _fetch_rest(url, partial, state)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the file on the server is shorter than ours
                partial.unlink()
                continue
            raise InputError(
                f"{url}: the server answers {error.code} {error.reason}; check --url, or try again "
                "later"
            ) from None
        except _NETWORK as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{url}: the connection failed ({reason or type(error).__name__}) with "
                    f"{_size(partial):,} bytes fetched; run the same command again to go on, and "
                    "check http_proxy and https_proxy if they are set"
                ) from None
            time.sleep(PAUSE_S * 2**failures)
    os.replace(partial, archive)


def _fetch_rest(url: str, partial: Path, state: Path) -> None:
    """Request the missing bytes; raises an OSError if the connection ends early."""
    from tqdm import tqdm

    known = read_state(state)
    have = _size(partial) if known else 0
    if have and have == known.get("size"):
        return
    headers = {"User-Agent": "homework.download"}
    if have:
        # With If-Range, a server whose file has changed sends all of the new file.
        headers |= {"Range": f"bytes={have}-", "If-Range": known["etag"]}
    with _open(url, headers) as response:
        if response.status == 206 and not _continues(response, have, known.get("size")):
            partial.unlink()
            raise ConnectionError("the server sent another part than asked for")
        if response.headers.get_content_type() == "text/html":
            raise InputError(f"{url}: sends a web page, not a zip; check --url")
        have = have if response.status == 206 else 0
        total = None if response.length is None else have + response.length
        # Images hardly compress, so unpacking needs about as much space again.
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


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Open an address; an InputError where it, a proxy's or a redirect's cannot be one."""
    try:
        parts = urllib.parse.urlsplit(url)
        # Also reads the port, which has to be a number.
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if not known or not url.isprintable():
            raise ValueError("not an address such as https://example.org/dataset.zip")
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), None, TIMEOUT_S)
    # Of the parts: brackets, ports, letters, empty labels.
    except (ValueError, OverflowError, http.client.InvalidURL) as error:
        raise InputError(
            f"{url}: cannot be asked for ({one_line(error)}); check --url and, if they are set, "
            "the variables http_proxy and https_proxy"
        ) from None


def _continues(response: http.client.HTTPResponse, have: int, size: int | None) -> bool:
    """Whether a partial response starts where our file ends and is of a file of the same size."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    return bool(found) and found[1] == str(have) and found[2] in ("*", str(size))


def _validator(response: http.client.HTTPResponse) -> str | None:
    """The value for If-Range: a strong ETag, or else the date of the last change."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def read_state(state: Path) -> dict[str, Any]:
    """ETag and size that `fetch` has recorded; empty if the archive has to start again."""
    try:
        found = read_json(state)
    except InputError:  # missing or damaged
        return {}
    etag = found.get("etag") if isinstance(found, dict) else None
    return found if isinstance(etag, str) and etag.isascii() and etag.isprintable() else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    cli.run(download)
