"""The feed of changes as one person may see it, for long polls and streams alike. What many read is made once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..resources.base import Resource
from ..resources.errors import BadRequest
from ..resources.registry import KINDS
from ..store.types import ChangeType
from .fanout import Fanout, Shared
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
        self._fanout = Fanout(services.store)

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
        found, version = await self._page(query, since, min(limit, self._services.config.feed_page))
        latest = _last_of_each([change for change in found if self._may_see(identity, change)])
        # As the record holds them: a place in the queue costs a look at all that wait, for each of many readers.
        changes = ",".join(
            f'{{"type": "{kind}", "version": {change.version}, "object": {self._text(identity, change)}}}'
            for kind, change in latest
        )
        return FeedPage(f'{{"changes": [{changes}], "version": {version}}}', len(latest), version)

    async def wait(self, version: int, seconds: float) -> None:
        """Until something may have come after ``version``, or so long."""
        await self._fanout.wait(version, seconds)

    def close(self) -> None:
        """Let go of the feed."""
        self._fanout.close()

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
                await patience.wait(self.wait(version, patience.left))
            version = page.version

    async def _page(self, query: StreamQuery, since: int, limit: int) -> tuple[list[Shared], int]:
        """Changes of those namespaces and kinds, and where to go on: from what all share, else from the record."""
        namespaces = [*query.namespace, ""] if query.namespace else None
        shared = self._fanout.since(since, limit)
        if shared is not None:
            found, version = shared
            return [change for change in found if _is_of(change.resource, namespaces, query.kind)], version
        page = await self._store.aread(
            lambda reader: reader.changes(since, limit=limit, namespaces=namespaces, kinds=query.kind)
        )
        return [Shared(change) for change in page.changes], page.version

    def _text(self, identity: Identity, change: Shared) -> str:
        return change.text(self._roles.masks(identity, change.resource), self._views.text)

    def _may_see(self, identity: Identity, change: Shared) -> bool:
        return self._roles.allowed(identity, "get", change.resource.kind, resource=change.resource)


def _is_of(resource: Resource, namespaces: Collection[str] | None, kinds: Collection[str]) -> bool:
    return (namespaces is None or resource.metadata.namespace in namespaces) and (not kinds or resource.kind in kinds)


def _last_of_each(changes: Sequence[Shared]) -> list[tuple[ChangeType, Shared]]:
    """Without those that a later one of the same object replaces. ADDED and MODIFIED together are ADDED."""
    kept: dict[str, tuple[ChangeType, Shared]] = {}
    for change in changes:
        uid = change.resource.metadata.uid
        earlier = kept.pop(uid, None)
        added = earlier is not None and earlier[0] == "ADDED" and change.type == "MODIFIED"
        kept[uid] = ("ADDED" if added else change.type, change)
    return list(kept.values())
