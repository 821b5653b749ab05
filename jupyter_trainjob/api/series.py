"""Logged metrics for requests: the text by offset as logs are read, and series ready for a plot."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ..resources import names
from ..resources.trainjob import TrainJob
from ..storage.logs import LogReader
from .logs import pick_attempt
from .points import Series

if TYPE_CHECKING:
    from .services import Services

KEPT = 16
"""As many attempts' series stay in memory, those looked at last: a plot drawn anew every second reads what is new."""
READ_BYTES = 4 * 2**20
FOLDER = "metrics/"


class MetricSeries:
    """Reads and remembers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()

    async def series(self, job: TrainJob, number: int | None, maximum: int, wanted: list[str]) -> dict[str, Any]:
        """``{attempt, metrics, points, leftOut, complete}``: see :class:`.points.Series`."""
        attempt = pick_attempt(job, number)
        if attempt is None:
            return {"attempt": None, "metrics": {}, "points": 0, "leftOut": 0, "complete": job.status.phase.final}
        key = (job.metadata.uid, attempt.number)
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        over = attempt.end is not None
        async with kept.lock:
            return await self._services.io(self._told, kept, *key, over, maximum, wanted)

    def _told(self, kept: _Kept, uid: str, number: int, over: bool, maximum: int, wanted: list[str]) -> dict[str, Any]:
        reader = LogReader(self._services.objects, names.attempt_prefix(uid, number) + FOLDER)
        while not kept.complete:
            chunk = reader.read(kept.series.offset, READ_BYTES)
            done = chunk.next_offset >= chunk.size
            kept.complete = (chunk.complete and done) or (over and not chunk.data)
            kept.series.feed(chunk.data, chunk.offset, ended=kept.complete)
            if not chunk.data or (done and not chunk.complete):
                break
        return {"attempt": number, **kept.series.to_dict(maximum, wanted), "complete": kept.complete}


class _Kept:
    """One attempt's series, and the right to add to it."""

    def __init__(self) -> None:
        self.series = Series()
        self.lock = asyncio.Lock()
        self.complete = False
