"""Pages that are one file: they open from disk and need neither network nor server.

`page.css` and `page.js` beside this module have what all pages share: colours, buttons, bars,
frames with boxes, and a gallery with search, filters and pages. A page adds its own body, style
and script, three files of one name: `report.html`, `report.css` and `report.js`.
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


def render(title: str, parts: Path, blocks: Mapping[str, Any], images: str = "data:") -> bytes:
    """The page as HTML in UTF-8. Its content security policy (CSP) forbids every request.

    Args:
        title: of the browser's tab.
        parts: the page's own body; its style and script lie beside it (.css, .js).
        blocks: id -> value that the script gets, as JSON, from `read(id)`.
        images: where pictures may come from: sources of the policy's img-src.
    """
    style, script = (
        "".join(file.with_suffix(suffix).read_text("utf-8") for file in (SHARED, parts))
        for suffix in (".css", ".js")
    )
    values = {
        # Only this script and this style run.
        "csp": f"default-src 'none'; img-src {images}; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'",
        "title": html.escape(title),
        "style": style,
        "body": parts.read_text("utf-8").strip(),
        "blocks": "\n".join(map(_block, blocks, blocks.values())),
        "script": script,
    }
    template = SHARED.read_text("utf-8")
    # In one pass, so that inserted text is not searched for names.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template).encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _block(name: str, value: Any) -> str:
    """A script element that holds JSON, which cannot end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
