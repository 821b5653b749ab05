"""Wire forms: what is computed on read, put in; what is not for the one who reads, masked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..resources.base import Resource, rfc3339
from ..resources.queue import Queue, QueueUse
from ..resources.trainjob import Phase, TrainJob
from ..store import Stored
from .identity import Identity
from .roles import mask

if TYPE_CHECKING:
    from .services import Services


class Views:
    """Makes JSON texts of resources, as one person may see them."""

    def __init__(self, services: Services) -> None:
        self._ranking = services.ranking
        self._roles = services.roles
        self._computed: Mapping[type[Resource], Callable[[Identity, Sequence[Resource]], Awaitable[None]]] = {
            TrainJob: self._rank,
            Queue: self._use,
        }

    async def one(self, identity: Identity, resource: Resource) -> str:
        """JSON text of one resource."""
        return (await self.many(identity, [resource]))[0]

    async def many(self, identity: Identity, resources: Sequence[Resource]) -> list[str]:
        """JSON texts, in the same order. The resources may be of several kinds; their status is filled in."""
        for model, compute in self._computed.items():
            found = [resource for resource in resources if isinstance(resource, model)]
            if found:
                await compute(identity, found)
        return [self.stored(identity, resource) for resource in resources]

    async def page(self, identity: Identity, items: Sequence[Stored[Any]]) -> list[str]:
        """:meth:`many` for a page of the record: what it holds whole is told as it is, without being read."""
        texts = {index: item.text for index, item in enumerate(items) if _is_whole(identity, item)}
        rest = [index for index in range(len(items)) if index not in texts]
        told = await self.many(identity, [items[index].resource for index in rest])
        texts.update(zip(rest, told, strict=True))
        return [texts[index] for index in range(len(items))]

    def stored(self, identity: Identity, resource: Resource) -> str:
        """JSON text of what the record holds, nothing computed."""
        return self.text(resource, self._roles.masks(identity, resource))

    @staticmethod
    def text(resource: Resource, masked: bool) -> str:
        """JSON text of a resource, whole or with its environment values masked."""
        if not masked:
            return resource.to_json()  # twice as quick as the other way
        return json.dumps(mask(resource), ensure_ascii=False, separators=(",", ":"))

    async def why(self, job: TrainJob) -> dict[str, Any]:
        """``{position, waitingFor, estimatedStart, blockers}`` of one job."""
        told = await self._ranking.explain(job)
        return {
            "position": told.position,
            "waitingFor": told.waiting_for,
            "estimatedStart": rfc3339(told.estimated_start) if told.estimated_start else None,
            "blockers": told.blockers,
        }

    async def _rank(self, identity: Identity, resources: Sequence[Resource]) -> None:
        waiting = [job for job in resources if isinstance(job, TrainJob) and job.status.phase is Phase.QUEUED]
        told = await self._ranking.explain_many(waiting) if waiting else {}
        for job in waiting:
            if found := told.get(job.metadata.uid):
                job.status.position = found.position
                job.status.waiting_for = found.waiting_for
                job.status.estimated_start = found.estimated_start

    async def _use(self, identity: Identity, resources: Sequence[Resource]) -> None:
        queues = [one for one in resources if isinstance(one, Queue)]
        if not queues:
            return
        everybody, mine = await self._ranking.queue_uses(None, identity.username)
        for queue in queues:
            queue.status.use = everybody.get(queue.metadata.name, QueueUse())
            queue.status.mine = mine.get(queue.metadata.name, QueueUse())


def _is_whole(identity: Identity, item: Stored[Any]) -> bool:
    """Whether the record's text is what ``identity`` gets: nothing to compute, and nothing to mask.

    Only jobs have a phase, and only a queued one has a place. Without an environment value every ``"env"`` that the
    text holds as a key is followed by an empty list; within strings the quotation mark is escaped.
    """
    if item.phase in ("", Phase.QUEUED.value):
        return False
    return item.owner == identity.username or item.text.count('"env"') == item.text.count('"env":[]')
