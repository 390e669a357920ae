"""What a submission's process may use of the machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from . import usage


class Stopped(Exception):
    """The user stopped the grading, by Ctrl-C for example; there is no result."""


@dataclass(frozen=True)
class Slot:
    """What one submission may use of the machine; all of it by default."""

    processor: int | None = None  # the number of the only one that it may use
    memory_bytes: int = field(default_factory=lambda: usage.memory_limit())  # in use
    stop: threading.Event = field(default_factory=threading.Event)  # set to end the grading
