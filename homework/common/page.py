"""Pages that are one file: they open from disk and need neither network nor server.

`page.html` beside this module has what all pages share: colours, buttons, bars, frames with boxes,
and a gallery with search, filters and pages. A page adds a file with its own style, body and
script, in this order: `<style>...</style> ... <script>...</script>`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHARED = Path(__file__).with_suffix(".html")
_PARTS = re.compile(r"<style>(.*?)</style>(.*)<script>(.*?)</script>\s*", re.DOTALL)


def render(title: str, parts: Path, blocks: Mapping[str, Any], images: str = "data:") -> bytes:
    """The page as HTML in UTF-8. Its content security policy (CSP) forbids every request.

    Args:
        title: of the browser's tab.
        parts: the page's own style, body and script.
        blocks: id -> value that the script gets, as JSON, from `read(id)`.
        images: where pictures may come from: sources of the policy's img-src.
    """
    own = _PARTS.fullmatch(parts.read_text("utf-8"))
    assert own, f"{parts} has not the form of a page"
    values = {
        "title": html.escape(title),
        "style": own[1],
        "body": own[2].strip(),
        "blocks": "\n".join(map(_block, blocks, blocks.values())),
        "script": own[3],
    }

    def filled(text: str) -> str:
        # In one pass, so that inserted text is not searched for names.
        return re.sub(r"\{\{(\w+)\}\}", lambda name: values[name[1]], text)

    template = SHARED.read_text("utf-8")
    shared = _PARTS.search(template)
    assert shared
    # Only this script and this style run.
    values["csp"] = (
        f"default-src 'none'; img-src {images}; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(filled(shared[3]))}'; style-src '{_hash(filled(shared[1]))}'"
    )
    return filled(template).encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _block(name: str, value: Any) -> str:
    """A script element that holds JSON, which cannot end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
