"""The feed as a websocket.

One loop a stream: read a page of changes, send it, wait until the socket took it, rest, wait for news. A slow reader
therefore holds one message, and finds the changes it missed joined into the next (only the last of each object); one
who is too slow for the feed's memory is told ``Expired``, and closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ..resources.errors import BadRequest, Forbidden, TrainJobError
from .base import AUTH_RESOURCE, authorized
from .identity import Identity, TrainJobAuth
from .query import StreamQuery
from .services import SETTING, Services
from .status import StatusErrors

log = logging.getLogger(__name__)

CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 410: 4410, 503: 1012}
"""HTTP's codes plus 4000: applications' own range. 1012: the server stops. Anything else that fails closes with 1011,
'internal error'."""
IDLE_SECONDS = 60.0
"""How long one wait for news lasts, and how long what the identity provider said of the reader counts."""


class _Visit(TrainJobAuth):
    """The stream's request once more: providers keep their answer on the handler, or set cookies through it, which a
    websocket can't."""

    @property
    def services(self) -> Services:
        """The extension's parts."""
        services: Services = self.settings[SETTING]
        return services

    async def identity(self) -> Identity:
        """Who asks now. Raises what :meth:`.TrainJobAuth.prepare` does, and :class:`Forbidden`."""
        await TrainJobAuth.prepare(self)
        identity = await self.services.identify(self)
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", AUTH_RESOURCE)):
            raise Forbidden(f"{identity.username} may not follow the changes any more.", remedy="Ask the operator.")
        return identity


class ChangesStreamHandler(WebSocketMixin, StatusErrors, TrainJobAuth, WebSocketHandler, JupyterHandler):
    """``{"changes": […], "version"}`` as they come, at most one message an interval."""

    identity: Identity
    query: StreamQuery
    refusal: Exception | None = None
    _task: asyncio.Task[None] | None = None

    def initialize(self, route: str = "", **_: Any) -> None:
        """Called by Tornado with what the URL table says."""
        self.route = route

    @property
    def services(self) -> Services:
        """The extension's parts."""
        services: Services = self.settings[SETTING]
        return services

    def set_default_headers(self) -> None:
        """None: they make no sense for a websocket."""

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Who asks, and may they. Errors up to here are plain HTTP answers."""
        await TrainJobAuth.prepare(self)
        if self.request.method != "GET":
            raise HTTPError(405)
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest("This is a websocket.", remedy="Connect with ws://, or ask /changes page by page.")
        self.identity = await self.services.identify(self)
        self.query = StreamQuery.read(self.request.query_arguments)
        await self.services.feed.check(self.identity, self.query)

    @authorized("read")
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Shake hands."""
        await WebSocketHandler.get(self, *args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin."""
        super().open(*args, **kwargs)
        self.services.metrics.subscribers.inc()
        self._task = asyncio.create_task(self._follow())

    def on_message(self, message: str | bytes) -> None:
        """Nothing is expected; what comes is dropped."""

    def on_close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self.services.metrics.subscribers.dec()
        super().on_close()

    async def _follow(self) -> None:
        try:
            await self._send_all()
        except WebSocketClosedError:
            self.close()
        except TrainJobError as error:
            with suppress(WebSocketClosedError):
                await self.write_message(json.dumps({"error": error.to_dict()}))
            self.close(CLOSE_CODES.get(error.code, 1011), error.reason)
        except Exception:
            log.exception("Request %s: the stream of changes failed", self.request_id)
            self.close(1011, f"failed; request {self.request_id}")

    async def _send_all(self) -> None:
        feed, config = self.services.feed, self.services.config
        version = await feed.now() if self.query.since is None else self.query.since
        told = -1  # the first message always comes: it says where the reader stands
        asked = time.monotonic()
        while True:
            if time.monotonic() - asked >= IDLE_SECONDS:
                self.identity = await _Visit(self.application, self.request).identity()
                await feed.check(self.identity, self.query)
                asked = time.monotonic()
            page = await feed.read(self.identity, self.query, version, config.feed_page)
            if page.count or told < 0:
                await self.write_message(page.text)
                told = page.version
                await asyncio.sleep(config.feed_interval_seconds)
            if page.version == version:
                await feed.wait(version, IDLE_SECONDS)
            version = page.version
