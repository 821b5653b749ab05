"""Medians and percentiles, rounded for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float], digits: int = 4) -> float:
    """The middle value."""
    return round(statistics.median(values), digits)


def percentile(values: Sequence[float], percent: float, digits: int = 4) -> float:
    """The smallest value that at least ``percent`` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return round(ordered[int(rank) - 1], digits)
