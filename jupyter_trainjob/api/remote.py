"""A student's server that only forwards: every request under our prefix goes to a shared service, and back.

It holds the student's own token for the service and nothing else. What the browser or a kernel sent to prove itself
to this server (cookies, tokens, XSRF) stays here. Bodies stream both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import httpx
from jupyter_core.utils import ensure_async
from jupyter_server.auth import decorator
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.httpclient import HTTPError as ClientError
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from ..resources.errors import NotFound, TrainJobError, Unauthorized, Unavailable
from . import PREFIX
from .base import AUTH_RESOURCE
from .identity import IdentityService, OnlyIdentity, TrainJobAuth
from .ranges import MOVED
from .status import StatusErrors

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
READ_SECONDS = 90.0
"""Longer than any wait that the service allows a long-poll."""
CHUNKS = 4
"""Chunks of an upload that may wait for the service to take them."""
MAX_UPLOAD_BYTES = 2**50
"""This server sets no bound of its own: the service does."""

REQUEST_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "Content-Length",
    "Range",
    "If-Range",
    "If-None-Match",
    "If-Modified-Since",
    "Last-Event-ID",
    "Prefer",
    "Sec-Fetch-Mode",
)
"""What goes on to the service. All else stays: cookies, credentials, where the page came from."""

RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Referrer-Policy",
    "Retry-After",
    "X-Content-Type-Options",
)
OWN_PREFIXES = ("x-log-", "x-trainjob-")
"""What comes back, beside our own headers. Cookies of the service and its CORS rules do not."""


F = TypeVar("F", bound=Callable[..., Any])


def _logged_in(action: str) -> Callable[[F], F]:
    """Only who is logged in here, and whom this server's authorizer lets; the rest is the service's to decide."""

    def decorate(method: F) -> F:
        inner: Any = web.authenticated(decorator.authorized(action, resource=AUTH_RESOURCE)(method))

        @functools.wraps(inner)
        async def wrapper(self: _Forwarding, *args: Any, **kwargs: Any) -> None:
            if self.refusal is not None:
                raise self.refusal
            await inner(self, *args, **kwargs)

        return cast("F", wrapper)

    return decorate


class RemoteUnavailable(Unavailable):
    """The service that this server forwards to can't be had. Not the fault of whoever asked this server."""

    reason = "RemoteUnavailable"


class RemoteUnauthorized(Unauthorized):
    """The service refuses this server's token for it. The one who asked this server is well known here."""

    reason = "RemoteUnauthorized"


@dataclass
class Remote:
    """The service, and who we are there."""

    url: str
    token: str
    identity: IdentityService
    client: httpx.AsyncClient | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/").removesuffix(PREFIX)

    def http(self) -> httpx.AsyncClient:
        """The pool of connections; made on the loop that uses it."""
        if self.client is None:
            self.client = httpx.AsyncClient(
                timeout=httpx.Timeout(CONNECT_SECONDS, read=READ_SECONDS, write=READ_SECONDS, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                follow_redirects=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "jupyter-trainjob"},
            )
        return self.client

    def credentials(self) -> dict[str, str]:
        """The header that says who we are."""
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def unavailable(self, error: Exception) -> Unavailable:
        """What to tell when the service can't be reached."""
        return RemoteUnavailable(
            f"The job service at {self.url} can't be reached: {str(error).rstrip('.') or type(error).__name__}.",
            remedy="Jobs go on there meanwhile. Try again in a while; if it stays, check the address in "
            "TrainJobExtension.remote_url and tell the operator of the service.",
            retry_after_seconds=5,
        )

    def moved(self, location: str) -> Unavailable:
        """What to tell when the answer is a redirect: the service itself sends none but to its store."""
        return RemoteUnavailable(
            f"{self.url} is not the job service itself: it sends one on to {location[:200]!r}.",
            remedy="Set TrainJobExtension.remote_url to the address of the service.",
        )

    def refused(self) -> Unauthorized:
        """What to tell when the service doesn't know us."""
        problem = "does not know this server's token" if self.token else "wants a token, and this server has none"
        return RemoteUnauthorized(
            f"The job service at {self.url} {problem}.",
            remedy="Set TrainJobExtension.remote_token, or JUPYTER_TRAINJOB_REMOTE_TOKEN, to your token for it.",
        )


class _Forwarding(StatusErrors, TrainJobAuth):
    """What both handlers share."""

    refusal: Exception | None = None
    """What the answer will be, decided before the body came: one that closes in mid-sentence is not heard."""

    def initialize(self, remote: Remote, **_: Any) -> None:
        """Called by Tornado with what the URL table says."""
        self.remote = remote

    @property
    def services(self) -> OnlyIdentity:
        """The only service that forwarding needs."""
        return OnlyIdentity(self.remote.identity)

    async def admit(self) -> None:
        """Who asks, and whether this server's authorizer lets them: before anything goes to the service.

        The methods are marked besides (:func:`_logged_in`), as jupyter_server expects of handlers.
        """
        await TrainJobAuth.prepare(self)
        action = "read" if self.request.method in ("GET", "HEAD", "OPTIONS") else "write"
        if self.current_user is None or not await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, action, AUTH_RESOURCE)
        ):
            raise web.HTTPError(403)

    def target(self) -> str:
        """The address at the service: path and query as they came."""
        uri = self.request.uri or ""
        below = uri[len(self.base_url.rstrip("/")) :]
        path = below.partition("?")[0]
        if not path.startswith(PREFIX) or any(part in (".", "..") for part in unquote(path).split("/")):
            raise NotFound(f"There is nothing at {path[:200]}.")
        return self.remote.url + _without_token(below)


def _without_token(uri: str) -> str:
    """``uri`` without this server's own ``token`` argument."""
    path, mark, query = uri.partition("?")
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] != "token")
    return f"{path}?{kept}" if mark and kept else path


@web.stream_request_body
class RemoteHandler(_Forwarding, APIHandler):
    """Forwards one request."""

    _answer: asyncio.Task[httpx.Response] | None = None

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Authenticate here, then begin there, before the body comes."""
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)
        try:
            await self.admit()
            target = self.target()
        except (TrainJobError, web.HTTPError) as error:
            self.refusal = error
            return
        if self.request.method == "OPTIONS":
            return
        connection: Any = self.request.connection
        connection.set_max_body_size(MAX_UPLOAD_BYTES)
        headers = {name: self.request.headers[name] for name in REQUEST_HEADERS if name in self.request.headers}
        headers.update(self.remote.credentials())
        has_body = "Content-Length" in self.request.headers or "Transfer-Encoding" in self.request.headers
        request = self.remote.http().build_request(
            self.request.method or "GET",
            target,
            headers=headers,
            content=self._body() if has_body and self.request.headers.get("Content-Length") != "0" else None,
        )
        self._answer = asyncio.create_task(self.remote.http().send(request, stream=True))

    async def _body(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def data_received(self, chunk: bytes) -> None:
        """Some of the body: handed on as fast as the service takes it, dropped once it has answered."""
        if self._answer is None:
            return
        put = asyncio.ensure_future(self._chunks.put(chunk))
        await asyncio.wait({put, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()

    @_logged_in("read")
    async def get(self) -> None:
        """Forward it."""
        await self._forward()

    @_logged_in("write")
    async def post(self) -> None:
        """Forward it."""
        await self._forward()

    head = get
    put = patch = delete = post

    async def _forward(self) -> None:
        answer = self._answer
        assert answer is not None  # prepare() made it
        end = asyncio.ensure_future(self._chunks.put(None))
        try:
            response = await answer
        except httpx.HTTPError as error:
            raise self.remote.unavailable(error) from error
        finally:
            end.cancel()
        try:
            if response.status_code == 401:
                raise self.remote.refused()
            if response.is_redirect:
                if MOVED not in response.headers:
                    raise self.remote.moved(response.headers.get("Location", ""))
                self.set_header("Location", response.headers["Location"])
            await self._give_back(response)
        finally:
            await response.aclose()

    async def _give_back(self, response: httpx.Response) -> None:
        self.set_status(response.status_code, response.reason_phrase or None)
        for name in ("Content-Type", "Content-Security-Policy"):
            self.clear_header(name)
        for name, value in response.headers.items():
            if name.lower().startswith(OWN_PREFIXES) or name.lower() in _RESPONSE_NAMES:
                self.set_header(name, value)
        kind = response.headers.get("Content-Type", "application/json")
        try:
            await self.flush()
            if self.request.method != "HEAD":
                async for chunk in response.aiter_raw():
                    self.write(chunk)
                    await self.flush()
        except httpx.HTTPError as error:
            # The status is sent: all that is left is not to let a part look like the whole.
            log.warning("%s broke off in the middle of %s: %s", self.remote.url, self.request.path, error)
            stream: Any = getattr(self.request.connection, "stream", None)
            if stream is not None:
                stream.close()
            return
        await self.finish(set_content_type=kind)

    def compute_etag(self) -> str | None:
        """None: the service's own goes through."""
        return None

    def on_connection_close(self) -> None:
        """Nobody waits any more: let the service know."""
        self._let_go()
        super().on_connection_close()

    def on_finish(self) -> None:
        """The answer was sent, perhaps not the service's: nothing waits for more of the body."""
        super().on_finish()
        self._let_go()

    def _let_go(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()
            answer.add_done_callback(_close_unread)


_CLOSING: set[asyncio.Task[None]] = set()


def _close_unread(answer: asyncio.Task[httpx.Response]) -> None:
    """Give back the connection of an answer that nobody read; what failed meanwhile is nobody's to hear."""
    if not answer.cancelled() and answer.exception() is None and not answer.result().is_closed:
        closing = asyncio.ensure_future(answer.result().aclose())
        _CLOSING.add(closing)
        closing.add_done_callback(_CLOSING.discard)


_RESPONSE_NAMES = frozenset(name.lower() for name in RESPONSE_HEADERS)


class RemoteStreamHandler(WebSocketMixin, _Forwarding, WebSocketHandler, JupyterHandler):
    """Forwards the websocket of the feed."""

    _there: WebSocketClientConnection | None = None
    _pump: asyncio.Task[None] | None = None

    def set_default_headers(self) -> None:
        """None: they make no sense for a websocket."""

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Authenticate here, and shake hands there first: a refusal is then a plain HTTP answer."""
        await self.admit()
        url = urlsplit(self.target())
        address = url._replace(scheme="wss" if url.scheme == "https" else "ws").geturl()
        request = HTTPRequest(address, headers=self.remote.credentials(), connect_timeout=CONNECT_SECONDS)
        try:
            self._there = await websocket_connect(request, ping_interval=30)
        except ClientError as error:
            raise self._refusal(error) from error
        except OSError as error:
            raise self.remote.unavailable(error) from error

    def _refusal(self, error: ClientError) -> TrainJobError:
        if error.code == 401:
            return self.remote.refused()
        if 400 <= error.code < 500:
            told = TrainJobError(f"The job service at {self.remote.url} refused the stream: {error.message}.")
            told.code, told.reason = (
                error.code,
                {403: "Forbidden", 404: "NotFound", 410: "Expired"}.get(error.code, "BadRequest"),
            )
            return told
        return self.remote.unavailable(error)

    @_logged_in("read")
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Shake hands here too."""
        await WebSocketHandler.get(self, *args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Both ends stand."""
        super().open(*args, **kwargs)
        self._pump = asyncio.create_task(self._back())

    async def _back(self) -> None:
        there = self._there
        assert there is not None  # prepare() made it
        while (message := await there.read_message()) is not None:
            await self.write_message(message, binary=isinstance(message, bytes))
        self.close(there.close_code, there.close_reason)

    async def on_message(self, message: str | bytes) -> None:
        """Hand it on."""
        if self._there is not None:
            await self._there.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        """Close the other end too."""
        self._let_go()

    def on_finish(self) -> None:
        """Also when it never opened."""
        if self.ws_connection is None:
            self._let_go()
        super().on_finish()

    def _let_go(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self._there is not None:
            with contextlib.suppress(OSError):
                self._there.close()


async def problem(remote_url: str, remote_token: str) -> TrainJobError | None:
    """Why requests that are forwarded will be refused, for a warning at the start; None where all is well.

    It asks the service once, and waits for :data:`CONNECT_SECONDS` at most.
    """
    remote = Remote(remote_url, remote_token, IdentityService(local_user=""))
    try:
        async with remote.http() as client:
            answer = await client.get(f"{remote.url}{PREFIX}/me", headers=remote.credentials(), timeout=CONNECT_SECONDS)
    except httpx.HTTPError as error:
        return remote.unavailable(error)
    if answer.is_redirect:
        return remote.moved(answer.headers.get("Location", ""))
    if answer.status_code == 401:
        return remote.refused()
    if answer.status_code != 200:
        return remote.unavailable(ValueError(f"it answers {answer.status_code} {answer.reason_phrase}"))
    return None


def handlers_for_remote(
    remote_url: str, remote_token: str, identity: IdentityService
) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """URL specs that forward all of our prefix, without the server's base URL. ``ValueError`` for no URL."""
    url = urlsplit(remote_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"TrainJobExtension.remote_url: {remote_url!r} is no http or https address")
    options = {"remote": Remote(remote_url, remote_token, identity)}
    return [
        (PREFIX + r"/changes/stream", RemoteStreamHandler, options),
        (PREFIX + r"(?:/.*)?", RemoteHandler, options),
    ]
