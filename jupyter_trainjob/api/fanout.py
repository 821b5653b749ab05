"""One reader of the feed for all who follow it: what it reads is kept for a while, and each takes it from there.

A follower is a place in the feed, nothing more: nothing is queued up for it. Where its place is no longer (or not yet)
among what is kept, it reads the record itself until it is. So there is neither a gap nor a double, however slow it is.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable

from ..resources.base import Resource
from ..resources.errors import TrainJobError
from ..store import Change, Store
from ..store.types import ChangeType

log = logging.getLogger(__name__)

MAX_CHANGES = 500
"""So many changes are kept, the last ones."""
MAX_CHARACTERS = 8 * 1024**2
"""So long are the texts of those that are kept, at most."""
PAGE = 100
WAIT_SECONDS = 60.0


class Shared:
    """A change with its wire forms, each made once for all who read it."""

    def __init__(self, change: Change) -> None:
        self.version: int = change.version
        self.type: ChangeType = change.type
        self.resource: Resource = change.resource
        self._texts: dict[bool, str] = {}

    def text(self, masked: bool, make: Callable[[Resource, bool], str]) -> str:
        """The resource as JSON text; ``make`` makes it, ``masked`` or whole."""
        found = self._texts.get(masked)
        if found is None:
            found = self._texts[masked] = make(self.resource, masked)
        return found


class Fanout:
    """Follows the feed once somebody waits for it, until :meth:`close`. For one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: list[Shared] = []
        self._characters = 0
        self._after = -1
        """What came after this version, up to :attr:`_version`, is kept."""
        self._version = -1
        self._task: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def since(self, version: int, limit: int) -> tuple[list[Shared], int] | None:
        """Up to ``limit`` changes after ``version`` and where to go on; None where the record has to be asked."""
        if not self._after <= version <= self._version:
            return None
        start = bisect_right(self._kept, version, key=lambda shared: shared.version)
        found = self._kept[start : start + limit]
        return found, found[-1].version if len(found) == limit else self._version

    async def wait(self, version: int, seconds: float) -> None:
        """Until something may have come after ``version``, or so long."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="trainjob-fanout")
        if self._version > version:
            return
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(news)
        try:
            await asyncio.wait((news,), timeout=seconds)
        finally:
            self._waiting.discard(news)

    def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        """Ends when the record can't be read: those who wait then ask it themselves, and are told why."""
        try:
            await self._follow()
        except TrainJobError as error:
            log.debug("the feed can't be followed now: %s", error)
        finally:
            self._start_at(-1)
            self._wake()

    async def _follow(self) -> None:
        self._start_at(await self._store.aread(lambda reader: reader.version()))
        self._wake()
        while True:
            page = await self._store.aread(lambda reader: reader.changes(self._version, limit=PAGE))
            if page.changes:
                self._keep(page.changes)
            if page.version > self._version:
                self._version = page.version
                self._wake()
            else:
                await self._store.await_change(self._version, WAIT_SECONDS)

    def _start_at(self, version: int) -> None:
        self._kept, self._characters = [], 0
        self._after = self._version = version

    def _keep(self, changes: list[Change]) -> None:
        for change in changes:
            shared = Shared(change)
            self._kept.append(shared)
            self._characters += len(shared.text(False, _whole))
        drop = 0
        while len(self._kept) - drop > MAX_CHANGES or self._characters > MAX_CHARACTERS:
            self._characters -= len(self._kept[drop].text(False, _whole))
            self._after = self._kept[drop].version
            drop += 1
        del self._kept[:drop]

    def _wake(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)


def _whole(resource: Resource, masked: bool) -> str:
    return resource.to_json()
