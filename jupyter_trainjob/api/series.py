"""Logged metrics for requests: the text by offset as logs are read, and series ready for a plot."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..resources import names
from ..resources.trainjob import TrainJob
from ..storage.logs import LogReader
from .logs import pick_attempt
from .points import Series

if TYPE_CHECKING:
    from .services import Services

KEPT = 1000
"""Attempts that are remembered; most are short."""
KEPT_BYTES = 256 * 2**20
"""Of the attempts looked at last, so much stays in memory: a plot drawn anew every second reads what is new."""
READERS = 2
"""As many read at the same time, so that a long text leaves threads to the others, and memory."""
READ_BYTES = 4 * 2**20
FOLDER = "metrics/"


class MetricSeries:
    """Reads and remembers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()
        self._readers = asyncio.Semaphore(READERS)

    async def series(self, job: TrainJob, number: int | None, maximum: int, wanted: list[str]) -> str:
        """JSON of ``{attempt, metrics, points, leftOut, complete}``: see :class:`.points.Series`."""
        attempt = pick_attempt(job, number)
        if attempt is None:
            over = job.status.phase.final
            return json.dumps({"attempt": None, "metrics": {}, "points": 0, "leftOut": 0, "complete": over})
        key = (job.metadata.uid, attempt.number)
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        over = attempt.end is not None
        try:
            async with kept.lock, self._readers:
                return await self._services.io(self._told, kept, *key, over, maximum, wanted)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Of those that were looked at longest ago, as many as it takes."""
        size = sum(kept.bytes for kept in self._kept.values())
        while size > KEPT_BYTES or len(self._kept) > KEPT:
            _, gone = self._kept.popitem(last=False)
            size -= gone.bytes

    def _told(self, kept: _Kept, uid: str, number: int, over: bool, maximum: int, wanted: list[str]) -> str:
        reader = LogReader(self._services.objects, names.attempt_prefix(uid, number) + FOLDER)
        while not kept.complete:
            chunk = reader.read(kept.series.offset, READ_BYTES)
            done = chunk.next_offset >= chunk.size
            kept.complete = (chunk.complete and done) or (over and not chunk.data)
            kept.series.feed(chunk.data, chunk.offset, ended=kept.complete)
            if not chunk.data or (done and not chunk.complete):
                break
        told = {"attempt": number, **kept.series.to_dict(maximum, wanted), "complete": kept.complete}
        return json.dumps(told)  # here: so long a text is not made on the event loop


class _Kept:
    """One attempt's series, and the right to add to it."""

    def __init__(self) -> None:
        self.series = Series()
        self.lock = asyncio.Lock()
        self.complete = False

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.series.kept_bytes
