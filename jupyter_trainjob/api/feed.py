"""The feed of changes as one person may see it, for long polls and streams alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..resources.errors import BadRequest
from ..resources.registry import KINDS
from ..store import Change, ChangePage
from .identity import Identity
from .query import StreamQuery
from .waiting import Patience

if TYPE_CHECKING:
    from .services import Services

LOOKS_PER_POLL = 20
"""Pages of changes that are not for this reader that one request skips before it answers with nothing."""


@dataclass(frozen=True)
class FeedPage:
    """JSON text of ``{changes, version}``, how many changes that is, and where to go on."""

    text: str
    count: int
    version: int


class Feed:
    """Reads the feed for requests."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._roles = services.roles
        self._views = services.views

    async def check(self, identity: Identity, query: StreamQuery) -> None:
        """Whether the one who asks may, and knows what for. Raises the errors that say why not."""
        self._roles.require(identity, "list", "Change")
        for kind in query.kind:
            if kind not in KINDS:
                raise BadRequest(f"There is no kind {kind[:80]!r}.", remedy="There are: " + ", ".join(KINDS) + ".")
        for namespace in query.namespace:
            await self._roles.namespace(identity, namespace)

    async def now(self) -> int:
        """The newest version."""
        return await self._store.aread(lambda reader: reader.version())

    async def read(self, identity: Identity, query: StreamQuery, since: int, limit: int) -> FeedPage:
        """A page of what came after ``since``. Of an object that changed several times, only the last.

        Raises :class:`Expired` when the feed does not go back so far.
        """
        page = await self._page(query, since, min(limit, self._services.config.feed_page))
        latest = _last_of_each([change for change in page.changes if self._may_see(identity, change)])
        # As the record holds them: a place in the queue costs a look at all that wait, for each of many readers.
        texts = [self._views.stored(identity, change.resource) for change in latest]
        changes = ",".join(
            f'{{"type": "{change.type}", "version": {change.version}, "object": {text}}}'
            for change, text in zip(latest, texts, strict=True)
        )
        text = f'{{"changes": [{changes}], "version": {json.dumps(page.version)}}}'
        return FeedPage(text, len(latest), page.version)

    async def poll(
        self, identity: Identity, query: StreamQuery, since: int | None, limit: int, patience: Patience
    ) -> FeedPage:
        """The first page that holds something, waited for as long as ``patience`` lasts; else an empty one."""
        version = await self.now() if since is None else since
        looks = 0
        while True:
            page = await self.read(identity, query, version, limit)
            looks += 1
            if page.count or (patience.left <= 0 and (page.version == version or looks >= LOOKS_PER_POLL)):
                return page
            if page.version == version:
                await patience.wait(self._store.await_change(version, patience.left))
            version = page.version

    async def _page(self, query: StreamQuery, since: int, limit: int) -> ChangePage:
        namespaces = [*query.namespace, ""] if query.namespace else None
        return await self._store.aread(
            lambda reader: reader.changes(since, limit=limit, namespaces=namespaces, kinds=query.kind)
        )

    def _may_see(self, identity: Identity, change: Change) -> bool:
        return self._roles.allowed(identity, "get", change.resource.kind, resource=change.resource)


def _last_of_each(changes: Sequence[Change]) -> list[Change]:
    """Without those that a later one of the same object replaces. ADDED and MODIFIED together are ADDED."""
    kept: dict[str, Change] = {}
    for change in changes:
        uid = change.resource.metadata.uid
        earlier = kept.pop(uid, None)
        added = earlier is not None and earlier.type == "ADDED" and change.type == "MODIFIED"
        kept[uid] = Change(change.version, "ADDED", change.resource) if added else change
    return list(kept.values())
