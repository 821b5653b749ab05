"""Resources of any kind, found and listed for one person. A new kind needs nothing here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ..resources.base import R, Resource
from ..resources.errors import API_VERSION
from ..resources.visible import Visible
from ..store import Filter
from .identity import Identity
from .query import AllJobsQuery, JobsQuery, PageQuery

if TYPE_CHECKING:
    from .services import Services


PAGE_BYTES = 8 * 1024**2
"""A page with more text than this ends early: 1000 jobs may have a megabyte each."""


class Records:
    """Reads the record for requests."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._roles = services.roles
        self._views = services.views

    async def find(self, identity: Identity, verb: str, model: type[R], namespace: str, name: str) -> R:
        """The object that ``name`` means (uid, full or short name), if ``identity`` may ``verb`` it."""
        visible = self._roles.visible(identity) if model.NAMESPACED else None
        found = await self._store.aread(lambda reader: reader.find(model, namespace, name, visible))
        self._roles.require(identity, verb, model.__name__, resource=found)
        return found

    async def list(self, identity: Identity, model: type[Resource], query: PageQuery, namespace: str = "") -> str:
        """A page, as the JSON text of a ``…List``."""
        if namespace:
            await self._roles.namespace(identity, namespace)
        if model.NAMESPACED:
            self._roles.require(identity, "list", model.__name__, namespace=namespace or identity.namespace)
        else:
            self._roles.require(identity, "list", model.__name__)
        where = _filter(query, namespace, self._roles.visible(identity) if model.NAMESPACED else None)
        page = await self._store.aread(
            lambda reader: reader.list_stored(
                model, where, limit=query.limit, continue_=query.continue_, max_bytes=PAGE_BYTES
            )
        )
        items = await self._views.page(identity, page.items)
        metadata = {"resourceVersion": str(page.resource_version), "continue": page.continue_}
        head = {"apiVersion": API_VERSION, "kind": f"{model.__name__}List", "metadata": metadata}
        return f'{json.dumps(head)[:-1]}, "items": [{",".join(items)}]}}'


def _filter(query: PageQuery, namespace: str, visible: Visible | None) -> Filter:
    """What ``Reader.list_stored`` is asked."""
    where = Filter(
        namespaces=[namespace] if namespace else None, labels=query.label_selector, text=query.q, visible=visible
    )
    if isinstance(query, JobsQuery):
        where = replace(where, owner=query.owner, queue=query.queue, phases=query.phase)
    if isinstance(query, AllJobsQuery) and query.namespace:
        where = replace(where, namespaces=query.namespace)
    return where
