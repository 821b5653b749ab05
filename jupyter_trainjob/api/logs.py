"""A job's log by offset: the bytes from there on, or, for a while, the wait for them.

Nothing is held between requests. A waiting request polls the object store as often as the store says is cheap
(``poll_seconds``), each poll a short task of our own thread pool: a hundred followers wait on the event loop, not in
threads, and share :data:`POLLS_PER_SECOND`.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..resources import names
from ..resources.errors import NotFound
from ..resources.trainjob import Attempt, Phase, TrainJob
from ..storage.logs import LogChunk, LogReader
from ..storage.logsearch import Wanted, search
from .waiting import Patience

if TYPE_CHECKING:
    from .services import Services

LOOK_AGAIN_SECONDS = 1.0
"""How often a request that waits for a log looks whether the job is over. Endings are rare, polls are not."""

POLLS_PER_SECOND = 250
"""Of all followers together: many of them look less often each, so that they leave the machine to the jobs."""

SEARCHES = 2
"""As many at the same time: each takes a CPU while it looks."""

SEARCH_SECONDS = 0.3
"""So long one answer looks. Who asks on stands behind the others that search."""

READERS = 1000
"""So many places in logs are remembered between requests."""


@dataclass(frozen=True)
class LogPiece:
    """What one answer holds. ``complete``: nothing more will ever come behind ``size``."""

    data: bytes
    offset: int
    next_offset: int
    size: int
    complete: bool
    gap: tuple[int, int] | None
    missing: int
    attempt: int | None

    def headers(self) -> dict[str, str]:
        """As response headers."""
        told = {
            "X-Log-Offset": str(self.offset),
            "X-Log-Next-Offset": str(self.next_offset),
            "X-Log-Size": str(self.size),
            "X-Log-Complete": "true" if self.complete else "false",
            "X-Log-Missing": str(self.missing),
        }
        if self.attempt is not None:
            told["X-Log-Attempt"] = str(self.attempt)
        if self.gap is not None:
            told["X-Log-Gap"] = f"{self.gap[0]}-{self.gap[1]}"
        return told


class Logs:
    """Reads logs for requests."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._objects = services.objects
        self._searches = asyncio.Semaphore(SEARCHES)
        self._waiting = 0
        self._places: OrderedDict[tuple[str, int], tuple[LogReader, float]] = OrderedDict()

    async def read(
        self, job: TrainJob, number: int | None, offset: int, limit: int, patience: Patience, folder: str = ""
    ) -> LogPiece:
        """Bytes of an attempt's log (None: the latest) from ``offset`` on.

        Where there are none yet, waits for the first as long as ``patience`` lasts; also for the attempt itself, if
        the latest is wanted and the job still waits. ``folder``: of another text that is kept as logs are. Raises
        :class:`NotFound` for an attempt that never was.
        """
        attempt = pick_attempt(job, number)
        version = int(job.metadata.resource_version)
        while _is_to_come(job, attempt) and not job.status.phase.final and patience.left > 0:
            await patience.wait(self._store.await_change(version, patience.left))
            job, version = await self._reread(job)
            attempt = pick_attempt(job, number)
        if attempt is None:
            return LogPiece(b"", offset, offset, 0, job.status.phase.final, None, 0, None)
        limit = min(limit, self._services.config.log_chunk_bytes)
        return await self._follow(job, attempt, folder, offset, limit, patience)

    async def search(self, job: TrainJob, number: int | None, wanted: Wanted, patience: Patience) -> str:
        """JSON of ``{attempt, offsets, count, nextOffset}``: see :class:`.Found`. :class:`NotFound` as :meth:`read`.

        Of ``patience`` only the client's going counts: its place among the few is then the next one's.
        """
        attempt = pick_attempt(job, number)
        if attempt is None:
            return json.dumps({"attempt": None, "offsets": [], "count": 0, "nextOffset": None})
        prefix = names.attempt_prefix(job.metadata.uid, attempt.number)
        async with self._searches:
            if patience.gone:
                return ""
            return await self._services.io(self._found, prefix, attempt.number, wanted, patience)

    def _found(self, prefix: str, number: int, wanted: Wanted, patience: Patience) -> str:
        found = search(self._objects, prefix, wanted, SEARCH_SECONDS, lambda: patience.gone)
        told = {"attempt": number, "offsets": found.offsets, "count": found.count, "nextOffset": found.next_offset}
        return json.dumps(told)  # here: so long a text is not made on the event loop

    async def _follow(
        self, job: TrainJob, attempt: Attempt, folder: str, offset: int, limit: int, patience: Patience
    ) -> LogPiece:
        prefix = names.attempt_prefix(job.metadata.uid, attempt.number) + folder
        reader, due = self._places.pop((prefix, offset), (LogReader(self._objects, prefix), 0.0))
        loop = asyncio.get_running_loop()
        looked = loop.time()
        over = attempt.end is not None or job.status.phase.final  # looked at before the bytes: then none come after
        if looked < due and not over and patience.left > 0:
            await patience.pause(due - looked)
        while True:
            chunk = await self._services.io(partial(reader.read, offset, limit, fresh=over or patience.left <= 0))
            if chunk.data or chunk.complete or over or patience.left <= 0:
                self._remember(prefix, reader, chunk)
                return self._piece(chunk, over, attempt.number)
            await self._pause(patience)
            if loop.time() - looked >= LOOK_AGAIN_SECONDS:
                looked = loop.time()
                job, _ = await self._reread(job)
                latest = next((item for item in job.status.attempts if item.number == attempt.number), attempt)
                over = latest.end is not None or job.status.phase.final

    async def _pause(self, patience: Patience) -> None:
        self._waiting += 1
        try:
            await patience.pause(self._interval())
        finally:
            self._waiting -= 1

    def _interval(self) -> float:
        return max(self._objects.poll_seconds, self._waiting / POLLS_PER_SECOND)

    def _remember(self, prefix: str, reader: LogReader, chunk: LogChunk) -> None:
        """Whoever follows comes back at once, for what comes next: with the same reader, and when it may be there."""
        if chunk.data and not chunk.complete:
            due = asyncio.get_running_loop().time() + self._interval() if reader.at_end else 0.0
            self._places[prefix, chunk.next_offset] = reader, due
            while len(self._places) > READERS:
                self._places.popitem(last=False)

    def _piece(self, chunk: LogChunk, over: bool, number: int) -> LogPiece:
        self._services.metrics.log_bytes.inc(len(chunk.data))
        complete = chunk.complete or (over and not chunk.data)  # a supervisor that was lost wrote no end record
        return LogPiece(
            chunk.data, chunk.offset, chunk.next_offset, chunk.size, complete, chunk.gap, chunk.missing, number
        )

    async def _reread(self, job: TrainJob) -> tuple[TrainJob, int]:
        """The job as it is now, and the feed's version of that."""
        uid = job.metadata.uid
        return await self._store.aread(lambda reader: (reader.by_uid(TrainJob, uid), reader.version()))


def _is_to_come(job: TrainJob, attempt: Attempt | None) -> bool:
    """Whether it has not begun, and the record will tell: there is none yet, or somebody else still has to admit it."""
    return attempt is None or (attempt.end is None and job.status.phase is Phase.QUEUED)


def pick_attempt(job: TrainJob, number: int | None) -> Attempt | None:
    """The attempt of that number, or the latest; None where the latest is wanted and none began.

    Raises :class:`NotFound` for a number that the job does not have.
    """
    if number is None:
        return job.status.attempt
    for attempt in job.status.attempts:
        if attempt.number == number:
            return attempt
    count = len(job.status.attempts)
    raise NotFound(
        f"The job {job.metadata.name} has no attempt {number}.",
        remedy=f"It has {count}, numbered from 1." if count else "None has begun yet.",
    )
