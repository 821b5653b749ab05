"""How many kernels wait: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST = 4
"""Of one kind."""
WINDOW_SECONDS = 1800.0
"""So long a use counts as recent."""
TOGETHER_SECONDS = 10.0
"""Starts within so long of each other want a kernel each: about as long as a new one takes to be ready."""


@dataclass
class Kind:
    """What the pool knows of one kind of kernel."""

    least: int = 0
    """As configured, whatever the use."""
    uses: list[float] = field(default_factory=list)
    """When jobs of the kind began, in seconds of a monotonic clock, oldest first."""
    memory_bytes: int = 0
    """What one of it takes, as last measured; 0: unknown."""
    own: bool = False
    """Whether it has something of one job's, its environment variables say: one use tells nothing of another then."""


def wanted(kind: Kind, now: float) -> int:
    """How many of ``kind`` would be of use: as many as began together at most, of late."""
    recent = [use for use in kind.uses if now - use < WINDOW_SECONDS]
    if kind.own and len(recent) < 2:
        recent = []
    together = max((sum(0 <= other - one < TOGETHER_SECONDS for other in recent) for one in recent), default=0)
    return min(MOST, max(kind.least, together))


def is_over(kind: Kind, now: float) -> bool:
    """Whether nothing of ``kind`` is wanted, nor will be by what is known of it."""
    return not kind.least and all(now - use >= WINDOW_SECONDS for use in kind.uses)


def plan(kinds: Mapping[str, Kind], now: float, budget_bytes: int, guesses: Mapping[str, int]) -> dict[str, int]:
    """How many of each kind there shall be, within the budget: one of each first, those used last before others.

    ``guesses``: the memory of kinds of which none was measured.
    """
    order = sorted(kinds, key=lambda name: (-max(kinds[name].uses, default=float("-inf")), name))
    sizes = dict.fromkeys(kinds, 0)
    left = budget_bytes
    for number in range(1, MOST + 1):
        for name in order:
            cost = kinds[name].memory_bytes or guesses[name]
            if wanted(kinds[name], now) >= number and sizes[name] == number - 1 and cost <= left:
                sizes[name] = number
                left -= cost
    return sizes


def surplus(there: Sequence[str], size: int) -> Sequence[str]:
    """Which of the kernels ``there``, oldest first, are too many: the oldest stay, they are warm."""
    return there[size:]
