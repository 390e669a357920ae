"""JSON through orjson, which is several times as fast, or through Python's own module without it.

The course's environment has no orjson.
"""

from __future__ import annotations

import json
from typing import Any


def loads(data: bytes) -> Any:
    """Parse JSON; NaN, a byte order mark and UTF-16 are read too.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        import orjson

        return orjson.loads(data)
    except (ImportError, ValueError):
        pass
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def dumps(value: Any) -> bytes:
    """One line of JSON, the same bytes either way: UTF-8, without spaces."""
    try:
        import orjson
    except ImportError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return orjson.dumps(value)
