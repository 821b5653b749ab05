"""Events by which a cluster says what holds up pods: asked for all together, and only while something is held up.

The API server keeps no index of events: whoever asks for those of one object makes it read all of the namespace from
etcd. With hundreds of pods that wait, a question for each kept it from everything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import islice

from ..base import AttemptRef, BackendError
from .connect import Connection, Expired
from .reading import Object

log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""Between two questions."""
FORGET_SECONDS = 60.0
"""Whoever has not asked for so long is held up no more."""
PAGE, PAGES = 500, 20
"""Of warnings; beyond that a namespace has other troubles."""
OF_EACH = 50


class Complaints:
    """Warnings about Jobs and pods of one namespace. On the event loop; :meth:`stop` after all else.

    ``path``: of the namespace's events. ``told(ref, events)`` is called when there is something new about what ``ref``
    asked for.
    """

    def __init__(
        self, api: Connection, path: str, told: Callable[[AttemptRef, list[Object]], None], backend: str
    ) -> None:
        self._api, self._path, self._told, self._backend = api, path, told, backend
        self._about: dict[str, list[Object]] = {}
        self._asking: dict[AttemptRef, tuple[str, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, ref: AttemptRef, name: str) -> None:
        """What is told of the object ``name``? To be called every few seconds as long as it is held up."""
        self._asking[ref] = name, time.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"backend-{self._backend}-events")

    async def stop(self) -> None:
        """Leave off."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while self._asking:
            try:
                await self._look()
            except (BackendError, Expired) as error:  # a list that changes while it is read page by page may expire
                log.warning("backend %s: events can't be read, and will be asked for again: %s", self._backend, error)
            except Exception:  # one odd event: told, and tried again
                log.exception("backend %s: reading events broke", self._backend)
            await asyncio.sleep(AGAIN_SECONDS)
            forget = time.monotonic() - FORGET_SECONDS
            self._asking = {ref: asked for ref, asked in self._asking.items() if asked[1] > forget}
        self._about, self._task = {}, None

    async def _look(self) -> None:
        found: dict[str, list[Object]] = {}
        query = {"fieldSelector": "type=Warning", "limit": str(PAGE)}
        wanted = {name for name, _ in self._asking.values()}
        for _ in range(PAGES):
            reply = await self._api.request("GET", self._path, query=query)
            for item in reply.body.get("items") or []:
                name = str((item.get("involvedObject") or {}).get("name") or "")
                if name in wanted:
                    found.setdefault(name, []).append(item)
            more = (reply.body.get("metadata") or {}).get("continue")
            if not more:
                break
            query["continue"] = str(more)
        before, self._about = self._about, {name: list(islice(reversed(told), OF_EACH)) for name, told in found.items()}
        for ref, (name, _) in list(self._asking.items()):
            if (events := self._about.get(name, [])) != before.get(name, []):
                self._told(ref, events)
