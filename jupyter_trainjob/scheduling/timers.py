"""What time itself changes: a moment, what happens then, and of which branch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from .tree import Branch

PROMOTION, BUDGET, ROOM = range(3)
"""What a timer is for: a job's level rises; a budget's window turns; what ended before a reservation doesn't any
more.
"""
FEW = 100
"""So many are never looked through for users who are gone."""


class Timers:
    """Those of branches that are gone (``there`` tells) are none, and not kept for long: they may be due in a year."""

    def __init__(self, there: Callable[[Branch], bool]) -> None:
        self._there = there
        self._heap: list[tuple[float, int, int, Branch]] = []
        self._count = 0
        self._most = FEW

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, time: float, what: int, branch: Branch) -> None:
        """At that time, in seconds of the epoch."""
        self._count += 1
        heappush(self._heap, (time, self._count, what, branch))
        if len(self._heap) > self._most:
            self._heap = [timer for timer in self._heap if self._there(timer[3])]
            heapify(self._heap)
            self._most = 2 * len(self._heap) + FEW

    def next(self) -> float:
        """When the first is due; never is infinity."""
        while self._heap and not self._there(self._heap[0][3]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def past(self, now: float) -> Iterator[tuple[int, Branch]]:
        """Those that are due, each once, the first of them first; more may be set meanwhile."""
        while self.next() <= now:
            _, _, what, branch = heappop(self._heap)
            yield what, branch
