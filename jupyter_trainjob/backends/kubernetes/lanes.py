"""How many Jobs are made at once: as many as the cluster keeps up with.

Hundreds of jobs may be admitted in one pass. An API server that is sent all of them at once tells everybody's watches
of what happens seconds later than it does, ours and those of the cluster's own controllers. So a lane is held until the
watch has told of the Job that was made: the slower the news, the fewer are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..base import AttemptRef

LANES = 8
TURN_SECONDS = 10.0
"""Whoever has not come by then has no need of a turn any more."""
TOLD_SECONDS = 2.0
"""A lane is held no longer for news that does not come."""


class Lanes:
    """On the event loop. ``changed(ref)`` is called when it is the turn of one that was sent away."""

    def __init__(self, changed: Callable[[AttemptRef], None], count: int = LANES) -> None:
        self._changed, self._count = changed, count
        self._held: dict[AttemptRef, asyncio.TimerHandle | None] = {}
        """With what ends it by itself."""
        self._waiting: dict[AttemptRef, None] = {}

    def enter(self, ref: AttemptRef) -> bool:
        """Whether ``ref`` may be made now; it is to come soon then."""
        if ref not in self._held and (self._waiting or len(self._held) >= self._count):
            self._waiting[ref] = None
            return False
        self._hold(ref, TURN_SECONDS)
        return True

    def waits(self, ref: AttemptRef) -> bool:
        """Whether it was sent away, and its turn has not come."""
        return ref in self._waiting

    def keep(self, ref: AttemptRef) -> None:
        """It is being made, if it has a lane; :meth:`leave` or :meth:`leave_soon` is to follow."""
        if ref in self._held:
            self._hold(ref, None)

    def leave(self, ref: AttemptRef) -> None:
        """It is made and told of, or could not be; or nobody wants it any more."""
        self._waiting.pop(ref, None)
        if ref not in self._held:
            return
        if (timer := self._held.pop(ref)) is not None:
            timer.cancel()
        while self._waiting and len(self._held) < self._count:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._hold(following, TURN_SECONDS)
            self._changed(following)

    def leave_soon(self, ref: AttemptRef) -> None:
        """It is made; :meth:`leave` is called when the watch has told of it, or it is left at last."""
        if ref in self._held:
            self._hold(ref, TOLD_SECONDS)

    def _hold(self, ref: AttemptRef, seconds: float | None) -> None:
        if (timer := self._held.get(ref)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._held[ref] = loop.call_later(seconds, self.leave, ref) if seconds is not None else None

    def clear(self) -> None:
        """Forget all."""
        for timer in self._held.values():
            if timer is not None:
                timer.cancel()
        self._held.clear()
        self._waiting.clear()
