"""The base of every handler: who asks, what they sent, and errors as ``Status`` objects."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar, cast

from jupyter_server.auth import decorator
from jupyter_server.base.handlers import APIHandler
from tornado import web

from ..resources.errors import BadRequest, TooLarge, TrainJobError
from .identity import Identity, TrainJobAuth
from .query import Query
from .services import SETTING, Services
from .status import StatusErrors
from .waiting import Patience

log = logging.getLogger(__name__)

AUTH_RESOURCE = "trainjob"
"""What we are called in jupyter_server's authorizer."""

JSON_TYPES = ("application/json", "application/merge-patch+json")
DRAIN_BYTES = 64 * 1024**2
"""A refused body of up to this size is let come, and dropped, before the refusal is told."""

H = TypeVar("H", bound="TrainJobHandler")
Q = TypeVar("Q", bound=Query)
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


def authorized(action: Literal["read", "write"]) -> Callable[[F], F]:
    """Only who is logged in, and whom the server's authorizer lets do ``action``. Our own roles are asked besides.

    The resource is always named: jupyter_server's bare ``@authorized`` on a method that two classes share keeps the
    first one's for ever.
    """

    def decorate(method: F) -> F:
        return cast(
            "F", _after_refusal(web.authenticated(decorator.authorized(action, resource=AUTH_RESOURCE)(method)))
        )

    return decorate


def public(method: F) -> F:
    """Anybody, logged in or not."""
    return cast("F", _after_refusal(decorator.allow_unauthenticated(method)))


def _after_refusal(method: Any) -> Any:
    """``method``, unless the request was refused while its body was still to come."""

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        await method(self, *args, **kwargs)

    return wrapper


def takes(
    model: type[Q],
) -> Callable[[Callable[Concatenate[H, Q, P], Awaitable[None]]], Callable[Concatenate[H, P], Awaitable[None]]]:
    """The method's query arguments: read, checked, and handed to it first. Without this a method takes none."""

    def decorate(
        method: Callable[Concatenate[H, Q, P], Awaitable[None]],
    ) -> Callable[Concatenate[H, P], Awaitable[None]]:
        @functools.wraps(method)
        async def wrapper(self: H, /, *args: P.args, **kwargs: P.kwargs) -> None:
            await method(self, model.read(self.request.query_arguments), *args, **kwargs)

        wrapper.query_model = model  # type: ignore[attr-defined]
        return wrapper

    return decorate


@web.stream_request_body
class TrainJobHandler(StatusErrors, TrainJobAuth, APIHandler):
    """Base of the handlers of plain requests.

    The request is streamed, so that nobody's body is read before we know who they are; JSON is gathered up to
    ``max_body_bytes``. ``route`` is the path's pattern, for the metrics.
    """

    identity: Identity
    refusal: Exception | None = None
    """What the answer will be, decided before the body came."""
    waited: float = 0.0
    """Seconds that the request spent waiting for news, as it asked to."""
    LONG: ClassVar[bool] = False
    """Whether bodies are not JSON to be gathered: the class reads ``data_received`` itself."""

    def initialize(self, route: str = "", **_: Any) -> None:
        """Called by Tornado with what the URL table says."""
        self.route = route
        self._body = bytearray()
        self._body_bytes = 0
        self._patience: Patience | None = None

    @property
    def services(self) -> Services:
        """The extension's parts."""
        services: Services = self.settings[SETTING]
        return services

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Before the body arrives: may the request come at all.

        One that may not is refused at once if its body is long, else when its body has come (and was dropped): a
        server that closes on a client in mid-sentence is not heard.
        """
        try:
            await self.admit()
        except (TrainJobError, web.HTTPError) as error:
            if not self._hears_out():
                raise
            self.refusal = error

    async def admit(self) -> None:
        """Who is it, do the arguments exist, is it too long. Raises what the answer shall be."""
        await super().prepare()
        if self.current_user is not None:
            self.identity = await self.services.identify(self)
        if self.request.method not in self.methods():
            raise web.HTTPError(405)
        if query_model(type(self), self.request.method) is Query and self.request.method != "OPTIONS":
            Query.read(self.request.query_arguments)
        if not self.LONG and self.announced > self.services.config.max_body_bytes:
            raise self._too_large(self.announced)

    @property
    def announced(self) -> int:
        """How many bytes of a body the client said would come; 0 where it said nothing."""
        length = self.request.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() else 0

    def _hears_out(self) -> bool:
        # Without a body too: raising before the request is read to its end would close a connection that is kept.
        return self.announced <= DRAIN_BYTES and "Expect" not in self.request.headers

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Gather the body, up to the limit."""
        self._body_bytes += len(chunk)
        if self._body_bytes <= self.services.config.max_body_bytes:
            self._body += chunk
        return None

    def read_json(self, *, optional: bool = False) -> dict[str, Any]:
        """The body, a JSON object. Raises :class:`BadRequest` and :class:`TooLarge`."""
        if self._body_bytes > self.services.config.max_body_bytes:
            raise self._too_large(self._body_bytes)
        if not self._body.strip():
            if optional:
                return {}
            raise BadRequest("The body is empty.", remedy="Send a JSON object.")
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind and kind not in JSON_TYPES:
            raise BadRequest(f"The body is said to be {kind}.", remedy="Send JSON, and Content-Type: application/json.")
        try:
            data = json.loads(self._body.decode("utf-8"), parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"The body is not UTF-8: byte {error.start} can't be read.", remedy="Send UTF-8."
            ) from None
        except json.JSONDecodeError as error:
            raise BadRequest(
                f"The body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
                remedy="Send one JSON object.",
            ) from None
        except ValueError as error:  # an integer of more digits than Python reads
            raise BadRequest(
                f"The body holds a number that can't be read: {error}.", remedy="Send large numbers as text."
            ) from None
        except RecursionError:
            raise BadRequest("The body is nested too deeply.", remedy="Send a flatter JSON object.") from None
        if not isinstance(data, dict):
            raise BadRequest(f"The body is a JSON {_json_type(data)}, not an object.", remedy="Send one JSON object.")
        return data

    def read_message(self) -> str:
        """``message`` of a body that may be left out and holds nothing else."""
        data = self.read_json(optional=True)
        unknown = sorted(set(data) - {"message"})
        message = data.get("message", "")
        if unknown:
            raise BadRequest(f"The body holds {unknown[0][:80]!r}.", remedy='Send {"message": "…"}, or nothing.')
        if not isinstance(message, str):
            raise BadRequest(f"The message is a JSON {_json_type(message)}, not a string.", remedy="Send a string.")
        return message

    def read_parameters(self) -> Any:
        """``parameters`` of a body that may be left out and holds nothing else."""
        data = self.read_json(optional=True)
        unknown = sorted(set(data) - {"parameters"})
        if unknown:
            raise BadRequest(f"The body holds {unknown[0][:80]!r}.", remedy='Send {"parameters": {…}}, or nothing.')
        return data.get("parameters")

    @contextmanager
    def patience(self, seconds: float) -> Iterator[Patience]:
        """What a wait for news is bounded by: what the request asked for, what we allow, and the client's listening."""
        patience = self._patience = Patience(min(seconds, self.services.config.max_wait_seconds))
        try:
            yield patience
        finally:
            self._patience = None
            self.waited += patience.waited

    def on_connection_close(self) -> None:
        """The client has gone: stop waiting for its sake."""
        super().on_connection_close()
        if self._patience is not None:
            self._patience.leave()

    def write_bytes(self, data: bytes) -> None:
        """End the request with bytes that are nobody's but the job's."""
        self.set_header("Cache-Control", "private, no-store")
        self.finish(data, set_content_type="application/octet-stream")

    def write_json(self, data: Any, *, status: int = 200) -> None:
        """End the request with ``data``, or with JSON text as it is."""
        self.set_status(status)
        self.finish(data if isinstance(data, str) else json.dumps(data))

    def compute_etag(self) -> str | None:
        """None: versions are told by ``metadata.resourceVersion``, and hashing pages would cost more than it saves."""
        return None

    def on_finish(self) -> None:
        """Count it."""
        seconds = max(0.0, self.request.request_time() - self.waited)
        method = self.request.method if self.request.method in self.SUPPORTED_METHODS else "other"
        self.services.metrics.request(self.route, str(method), self.get_status(), seconds)
        super().on_finish()

    def _too_large(self, size: int) -> TooLarge:
        limit = self.services.config.max_body_bytes
        return TooLarge(
            f"The body has {size / 2**20:.1f} MiB, the limit is {limit / 2**20:.0f} MiB.",
            remedy="Put data into files and send them along (--files); only code belongs into the cell.",
        )


class UnknownHandler(TrainJobHandler):
    """What lies beneath our prefix and is nothing: an answer that a program can read, not a page."""

    async def admit(self) -> None:
        """Nobody who is unknown learns even that there is nothing."""
        await TrainJobAuth.prepare(self)
        raise web.HTTPError(404, "There is nothing at %s; see openapi.yaml for what there is.", self.request.path)

    @authorized("read")
    async def get(self, *args: str) -> None:
        """What was refused at first is refused when the body has come."""

    post = put = patch = delete = head = get


def _no_constant(text: str) -> None:
    raise BadRequest(f"The body holds {text}, which is no JSON.", remedy="Write null, or the number as a string.")


def _json_type(data: Any) -> str:
    names = {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        int: "number",
        float: "number",
        type(None): "null",
    }
    return names[type(data)]


def query_model(handler: type[web.RequestHandler], method: str) -> type[Query]:
    """The model of the arguments that ``handler`` takes for an HTTP method."""
    model: type[Query] = getattr(getattr(handler, method.lower()), "query_model", Query)
    return model
