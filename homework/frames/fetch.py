"""Download a large file over HTTP; resume after an interruption if the file has not changed."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from ..common.errors import InputError, one_line
from ..common.files import read_json, write_json
from .unpack import check_space

ATTEMPTS = 3  # without a new byte, before giving up
PAUSE_S = 2.0  # before the second attempt; doubles
TIMEOUT_S = 30.0
_MAX_DIGITS = 15  # of a size; Python reads no number of thousands of digits
_CHUNK_BYTES = 1 << 18
# Not OSError as a whole: it includes a full disk, where a second attempt would not help.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def fetch(url: str, archive: Path, state: Path) -> None:
    """Download `url` to `archive`; resume from `<archive>.partial` if the file has not changed.

    `state` keeps the ETag (or date) and the size of the file that is being downloaded.

    Raises:
        InputError: the server refuses, cannot be reached or stops, or the disk is full.
    """
    partial = archive.with_name(f"{archive.name}.partial")
    if partial.is_symlink():
        partial.unlink()  # else the bytes would go where it leads
    scheme, host = urllib.parse.urlsplit(url)[:2]
    host = host.rpartition("@")[2]  # without a password
    if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        host += f" (by the proxy that {scheme}_proxy names)"
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
            if 300 <= error.code < 400:  # urllib follows those that lead somewhere
                raise InputError(
                    f"{url}: the server redirects in a circle or to no web address; check --url"
                ) from None
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
    """Request the missing bytes; raises an OSError if the connection ends early."""
    from tqdm import tqdm

    have, known = _size(partial), read_state(state)
    headers = {"User-Agent": "homework.download"}
    if have and known.get("etag"):
        # With If-Range, a server whose file has changed sends all of the new file.
        headers |= {"Range": f"bytes={have}-", "If-Range": known["etag"]}
    else:
        have = 0
    if have and have == known.get("size"):
        return
    request = urllib.request.Request(url, headers=headers)
    with _answer(request) as response:
        if response.status == 206 and not _continues(response, have, known.get("size")):
            partial.unlink()
            raise ConnectionError("the server sent another part than asked for")
        if response.headers.get_content_type() == "text/html":
            raise InputError(f"{url}: sends a web page, not a zip; check --url")
        have = have if response.status == 206 else 0
        length = _size_in(response.headers.get("Content-Length", ""))
        total = None if length is None else have + length
        # Pictures hardly compress, so unpacking needs about as much space again.
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


def _answer(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a request.

    Raises:
        InputError: the address, that of a proxy or one that a server redirects to is none.
        urllib.error.URLError, http.client.HTTPException: see `fetch`.
    """
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    # Of the parts that urllib does not check itself: brackets, ports, letters, empty labels.
    except (ValueError, OverflowError, http.client.InvalidURL) as error:
        raise InputError(
            f"{request.full_url}: cannot be asked for ({one_line(error)}); check --url and, if "
            "they are set, the variables http_proxy and https_proxy"
        ) from None


def require_address(url: str) -> None:
    """Raise an InputError unless `url` is the address of something on the web."""
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018 (reads the number)
        valid = parts.scheme in ("http", "https") and parts.hostname and url.isprintable()
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"--url {url!r}: not an address; give one such as https://example.org/dataset.zip"
        )


def _continues(response: http.client.HTTPResponse, have: int, size: int | None) -> bool:
    """Whether a partial response starts where our file ends and is of a file of the same size."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    return bool(found) and _size_in(found[1]) == have and found[2] in ("*", str(size))


def _size_in(header: str) -> int | None:
    """The number of bytes that a header gives; None if it gives none."""
    header = header.strip()
    is_size = header.isascii() and header.isdecimal() and len(header) <= _MAX_DIGITS
    return int(header) if is_size else None


def _validator(response: http.client.HTTPResponse) -> str | None:
    """The value for If-Range: a strong ETag, or else the date of the last change."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def read_state(state: Path) -> dict[str, Any]:
    """ETag and size that `fetch` has recorded; empty before the first response."""
    try:
        found = read_json(state)
    except InputError:  # missing or damaged: the archive is fetched from the start
        return {}
    etag = found.get("etag") if isinstance(found, dict) else None
    return found if isinstance(etag, str) and etag.isascii() and etag.isprintable() else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
