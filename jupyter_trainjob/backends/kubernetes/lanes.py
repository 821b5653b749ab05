"""How many Jobs are made at once: as many as the cluster keeps up with.

Hundreds of jobs may be admitted in one pass. An API server that is sent all of them at once tells everybody's watches
of what happens seconds later than it does, ours and those of the cluster's own controllers. So a lane is held until the
watch has told of the Job that was made, for two seconds at most: the slower the news, the fewer are made.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from ..base import AttemptRef

LANES = 8
TURN_SECONDS = 1.0
"""Whoever is called and has not come by then lets others go first."""
ENTERED_SECONDS = 15.0
"""Between :meth:`Lanes.enter` and :meth:`Lanes.keep` the record and the cluster are asked, no more."""
TOLD_SECONDS = 2.0
"""A lane is held no longer for news that does not come."""

_Stage = Literal["called", "entered", "making", "made"]


class Lanes:
    """On the event loop. ``changed(ref)`` is called when it is the turn of one that was sent away."""

    def __init__(self, changed: Callable[[AttemptRef], None], count: int = LANES) -> None:
        self._changed, self._count = changed, count
        self._held: dict[AttemptRef, tuple[_Stage, asyncio.TimerHandle | None]] = {}
        """With what ends it by itself."""
        self._waiting: OrderedDict[AttemptRef, None] = OrderedDict()
        self._late: set[AttemptRef] = set()

    def enter(self, ref: AttemptRef) -> bool:
        """Whether ``ref`` may be made now. Then :meth:`keep` or :meth:`leave` is to follow."""
        if ref not in self._held and (self._waiting or len(self._held) >= self._count):
            if ref not in self._waiting:
                self._waiting[ref] = None
                if ref in self._late:  # it has waited already
                    self._waiting.move_to_end(ref, last=False)
            return False
        self._late.discard(ref)
        self._hold(ref, "entered", ENTERED_SECONDS, self.leave)
        return True

    def keep(self, ref: AttemptRef) -> None:
        """It is being made; :meth:`leave` or :meth:`leave_soon` is to follow."""
        if ref in self._held:
            self._hold(ref, "making", None, self.leave)

    def leave_soon(self, ref: AttemptRef) -> None:
        """It is made; :meth:`leave` is called when the watch has told of it, or it is left at last."""
        if ref in self._held:
            self._hold(ref, "made", TOLD_SECONDS, self.leave)

    def leave(self, ref: AttemptRef) -> None:
        """It is made and told of, or could not be; or nobody wants it any more."""
        self._waiting.pop(ref, None)
        self._late.discard(ref)
        self._let_go(ref)

    def give_up(self, ref: AttemptRef) -> None:
        """:meth:`leave`, but for one that is being made, or was and is not told of."""
        stage, _ = self._held.get(ref, ("called", None))
        if stage in ("called", "entered"):
            self.leave(ref)

    def clear(self) -> None:
        """Forget all."""
        for _, timer in self._held.values():
            if timer is not None:
                timer.cancel()
        self._held.clear()
        self._waiting.clear()
        self._late.clear()

    def _missed(self, ref: AttemptRef) -> None:
        self._late.add(ref)
        self._let_go(ref)

    def _let_go(self, ref: AttemptRef) -> None:
        if ref not in self._held:
            return
        _, timer = self._held.pop(ref)
        if timer is not None:
            timer.cancel()
        while self._waiting and len(self._held) < self._count:
            following, _ = self._waiting.popitem(last=False)
            self._hold(following, "called", TURN_SECONDS, self._missed)
            self._changed(following)
        if not self._waiting and not self._held:
            self._late.clear()

    def _hold(self, ref: AttemptRef, stage: _Stage, seconds: float | None, then: Callable[[AttemptRef], None]) -> None:
        _, timer = self._held.get(ref, (stage, None))
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._held[ref] = stage, loop.call_later(seconds, then, ref) if seconds is not None else None
