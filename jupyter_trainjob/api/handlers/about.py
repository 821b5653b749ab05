"""The server, and the one who asks."""

from __future__ import annotations

from pathlib import Path

from ...resources.errors import NotFound
from ...resources.registry import KINDS, json_schema
from .. import metrics
from ..base import TrainJobHandler, authorized, public

DOCUMENT = Path(__file__).parent.parent / "openapi.yaml"


class MeHandler(TrainJobHandler):
    """Who am I, what may I do, what are my limits."""

    @authorized("read")
    async def get(self) -> None:
        """It."""
        self.write_json(await self.services.about.me(self.identity))


class KernelsHandler(TrainJobHandler):
    """The kernels that jobs may run in."""

    @authorized("read")
    async def get(self) -> None:
        """By backend."""
        self.write_json(await self.services.about.kernels(self.identity))


class SchemasHandler(TrainJobHandler):
    """The kinds."""

    @authorized("read")
    async def get(self) -> None:
        """Their names."""
        self.services.roles.require(self.identity, "list", "Schema")
        self.write_json({"kinds": sorted(KINDS)})


class SchemaHandler(TrainJobHandler):
    """One kind."""

    @authorized("read")
    async def get(self, kind: str) -> None:
        """Its JSON Schema."""
        self.services.roles.require(self.identity, "get", "Schema")
        if kind not in KINDS:
            raise NotFound(f"There is no kind {kind[:80]!r}.", remedy="There are: " + ", ".join(KINDS) + ".")
        self.write_json(json_schema(kind))


class OpenApiHandler(TrainJobHandler):
    """What this API is, for programs."""

    @authorized("read")
    async def get(self) -> None:
        """The document."""
        self.finish(DOCUMENT.read_bytes(), set_content_type="application/yaml")


class HealthHandler(TrainJobHandler):
    """Does the process answer?"""

    _track_activity = False  # programs ask on and on: that keeps no idle server alive

    @public
    async def get(self) -> None:
        """It does."""
        self.write_json({"status": "ok"})


class ReadyHandler(TrainJobHandler):
    """Can it do its work?"""

    _track_activity = False  # programs ask on and on: that keeps no idle server alive

    @public
    async def get(self) -> None:
        """What it needs, one by one; 503 where something is missing."""
        told = await self.services.about.ready()
        self.write_json(told, status=200 if told["ready"] else 503)


class MetricsHandler(TrainJobHandler):
    """Numbers for Prometheus."""

    _track_activity = False  # programs ask on and on: that keeps no idle server alive

    @authorized("read")
    async def get(self) -> None:
        """The exposition."""
        self.finish(await self.services.about.metrics(self.identity), set_content_type=metrics.CONTENT_TYPE)
