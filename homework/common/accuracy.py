"""Accuracy with its confidence interval. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple


class Accuracy(NamedTuple):
    """How many of some answers are correct."""

    label: str
    right: int
    total: int

    @classmethod
    def count(cls, label: str, right: Iterable[bool]) -> Accuracy:
        """Count the answers that are correct."""
        flags = list(right)
        return cls(label, sum(flags), len(flags))

    @property
    def value(self) -> float:
        """Share of the answers that are correct, from 0 to 1."""
        return self.right / self.total

    def row(self) -> dict[str, Any]:
        """For JSON: the counts, the accuracy and its 95% interval."""
        low, high = wilson_interval(self.value, self.total)
        return {**self._asdict(), "accuracy": self.value, "low": low, "high": high}


def wilson_interval(share: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a share of `total` trials (Wilson 1927); z = 1.96 for 95%."""
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
