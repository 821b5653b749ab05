"""Resources of any kind: list, get, create, replace, delete. A new kind needs no handler."""

from __future__ import annotations

from typing import Any

from jupyter_server.utils import url_path_join

from ...resources.base import Resource
from ..base import TrainJobHandler, authorized, takes
from ..query import PageQuery


class KindHandler(TrainJobHandler):
    """Base: the URL table says which kind."""

    model: type[Resource]

    def initialize(self, route: str = "", **options: Any) -> None:
        """``options["model"]`` is the kind."""
        super().initialize(route)
        self.model = options["model"]

    def created(self, text: str, name: str) -> None:
        """Answer that something is there now, and where."""
        self.set_header("Location", url_path_join(self.request.path, name))
        self.write_json(text, status=201)


class ClusterListHandler(KindHandler):
    """All objects of a cluster-wide kind."""

    @authorized("read")
    @takes(PageQuery)
    async def get(self, query: PageQuery) -> None:
        """A page of them."""
        self.write_json(await self.services.records.list(self.identity, self.model, query))

    @authorized("write")
    async def post(self) -> None:
        """A new one."""
        made = await self.services.verbs.catalogue.create(self.identity, self.model, self.read_json())
        self.created(await self.services.views.one(self.identity, made), made.metadata.name)


class TurnHandler(KindHandler):
    """pause, drain and open: the queue as it is afterwards."""

    @authorized("write")
    async def post(self, name: str, turn: str) -> None:
        """Do it. The body may hold a message."""
        catalogue = self.services.verbs.catalogue
        changed = await catalogue.turn(self.identity, name, turn, self.read_message())
        self.write_json(await self.services.views.one(self.identity, changed))


class ClusterHandler(KindHandler):
    """One object of a cluster-wide kind."""

    @authorized("read")
    async def get(self, name: str) -> None:
        """It."""
        found = await self.services.records.find(self.identity, "get", self.model, "", name)
        self.write_json(await self.services.views.one(self.identity, found))

    @authorized("write")
    async def put(self, name: str) -> None:
        """It, as it shall be."""
        data = self.read_json()
        changed = await self.services.verbs.catalogue.replace(self.identity, self.model, name, data)
        self.write_json(await self.services.views.one(self.identity, changed))

    @authorized("write")
    async def delete(self, name: str) -> None:
        """It is gone; the answer shows it as it was."""
        gone = await self.services.verbs.catalogue.delete(self.identity, self.model, name)
        self.write_json(self.services.views.stored(self.identity, gone))
