"""What a command writes for its user: files, of which none of the user's is replaced, and pages.

A command replaces a file only if it has written it itself and nobody has changed it since. For
this, `.written.json` in the file's folder holds the SHA-256 of what each command wrote there. Files
of the dataset are never written over, not with `--overwrite` either.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError
from .files import atomic_write, digest, read_json, reading, require_writable, write_json

RECORD = ".written.json"  # name of a file -> the command that wrote it, SHA-256 of its versions
# What all pages share: colours, buttons, bars, frames with boxes, a gallery with filters.
PAGE = Path(__file__).with_name("page.html")
_OF_THE_DATASET = re.compile(r".+(_info\.json|_im\.\w+)", re.IGNORECASE)


class Outputs:
    """Opens the files that one command writes for its user.

    Args:
        command: its name, the same at each run.
        overwrite: replace whatever there is.
    """

    def __init__(self, command: str, overwrite: bool = False) -> None:
        self.command, self.overwrite = command, overwrite

    def check(self, *paths: Path) -> None:
        """Raise an InputError, before long work, if a file may not or cannot be written."""
        for path in paths:
            require_writable(path)
            self._refuse(path, None)

    @contextmanager
    def open(self, path: str | Path) -> Iterator[BinaryIO]:
        """As `atomic_write`; InputError if there is a file that must not be replaced."""
        path = Path(path)
        if _OF_THE_DATASET.fullmatch(path.name):
            self._refuse(path, None)
        with atomic_write(path) as file:
            yield file
            file.flush()
            self.claim(path, Path(file.name))

    def claim(self, path: Path, fresh: Path) -> None:
        """Record that `fresh` is about to take the place of `path`; InputError if it may not.

        The record is written first, so that after a kill the new file still counts as written here.
        """
        found = digest(fresh)
        self._refuse(path, found)
        versions = [found]
        if path.is_file() and (before := digest(path)) != found:
            versions.append(before)  # until the new one is in its place
        record = _read(path.parent)
        record[path.name] = {"command": self.command, "sha256": versions}
        write_json(path.parent / RECORD, record)

    def _versions(self, path: Path) -> list[str]:
        entry = _read(path.parent).get(path.name)
        if not isinstance(entry, dict) or entry.get("command") != self.command:
            return []
        found = entry.get("sha256")
        return found if isinstance(found, list) else []

    def _refuse(self, path: Path, fresh: str | None) -> None:
        """Raise an InputError if `path` may not be replaced by a file of SHA-256 `fresh`."""
        if _OF_THE_DATASET.fullmatch(path.name):
            raise InputError(f"{path}: has the name of a file of the dataset; give another name")
        if self.overwrite or not path.is_file():
            return
        with reading(path, "move it away"):
            there = digest(path)
        if there not in (*self._versions(path), fresh):
            raise InputError(
                f"{path}: there is a file that {self.command} did not write, or that was changed "
                "since; move it, give another name, or replace it with --overwrite"
            )


def _read(folder: Path) -> dict[str, Any]:
    """The record of a folder; an empty one if there is none or it is damaged."""
    try:
        found = read_json(folder / RECORD)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


# --- pages that are one file: they open from disk and need neither network nor server ---


def render(title: str, parts: Path, blocks: Mapping[str, Any], images: str = "data:") -> bytes:
    """The page as HTML in UTF-8. Its content security policy (CSP) forbids every request.

    Args:
        title: of the browser's tab.
        parts: a file with the page's own parts, `<style>...</style> ... <script>...</script>`.
        blocks: id -> value that the script gets, as JSON, from `read(id)`.
        images: where images may come from: sources of the policy's img-src.
    """
    from html import escape  # here, as every --help imports this module

    head, style, body, script, end = _parts(PAGE)
    _, own_style, own_body, own_script, _ = _parts(parts)
    style, script = style + own_style, script + own_script
    # Only this script and this style run.
    policy = (
        f"default-src 'none'; img-src {images}; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    )
    page = (
        f'{head}<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>{body}{own_body.strip()}\n"
    )
    for name, value in blocks.items():
        # No text in it can end the element.
        text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
        page += f'<script type="application/json" id="{name}">{text}</script>\n'
    return f"{page}<script>{script}</script>{end}".encode()


def _parts(file: Path) -> list[str]:
    """What is before, in, between, in and after the style and the script."""
    return re.split("</?(?:style|script)>", file.read_text("utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
