"""Errors as ``Status`` objects: the one place that turns what a handler raised into an answer."""

from __future__ import annotations

import functools
import json
import logging
import math
import secrets
from http.client import responses
from types import TracebackType
from typing import Any

from tornado import web

from ..resources import mishaps
from ..resources.errors import TrainJobError, Unavailable
from ..storage.base import StoreError

log = logging.getLogger(__name__)

REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}


class _NoWarning(logging.LoggerAdapter):  # type: ignore[type-arg]
    """The server's log, to which what would be a warning goes as news for those who debug."""

    def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """No more than :meth:`debug`."""
        self.debug(msg, *args, **kwargs)


class StatusErrors(web.RequestHandler):
    """Turns what a handler raises into a ``Status`` object: ours as they are, anything else as a 500 that names a
    request id and nothing more; its traceback goes to the server's log under the same id.
    """

    @functools.cached_property
    def request_id(self) -> str:
        """Names the request in the log and in the answer."""
        return secrets.token_hex(6)

    @property
    def log(self) -> Any:
        """Where jupyter_server writes about this request. It would warn of every 404; to a HEAD, which asks whether
        something is there (a client does before each upload), "no" is an answer like any other."""
        found = super().log  # type: ignore[misc]
        return _NoWarning(found) if self.request.method == "HEAD" and self.get_status() == 404 else found

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Accidents with their traceback, answers with a line for those who debug."""
        if value is not None and mishaps.is_disk_full(value):
            mishaps.tell(log, f"Request {self.request_id} failed: {self.request.method} {self.request.path}", value)
        elif isinstance(value, (TrainJobError, web.HTTPError)):
            log.debug("%s %s: %s", self.request.method, self.request.path, value)
        elif typ is not None and value is not None:
            log.error(
                "Request %s failed: %s %s", self.request_id, self.request.method, self.request.path,
                exc_info=(typ, value, tb),
            )  # fmt: skip

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Called by Tornado with ``exc_info``."""
        error = self.as_error(kwargs.get("exc_info", (None, None, None))[1], status_code)
        self.set_status(error.code, responses.get(error.code, "Unknown"))
        if error.retry_after_seconds is not None:
            self.set_header("Retry-After", str(max(1, math.ceil(error.retry_after_seconds))))
        if error.code == 401:
            self.set_header("WWW-Authenticate", 'token realm="trainjob"')
        if error.code == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(error.to_dict()))

    def as_error(self, exception: BaseException | None, status_code: int) -> TrainJobError:
        """What to tell of ``exception``."""
        if isinstance(exception, TrainJobError):
            return exception
        if mishaps.is_disk_full(exception):
            return Unavailable(
                "The disk of the server is full: nothing can be kept now.",
                remedy="What was stored before is safe. Free some space, or tell the operator; then try again.",
                retry_after_seconds=60,
                data={"requestId": self.request_id},
            )
        if isinstance(exception, StoreError):
            log.error("Request %s: the object store failed: %s", self.request_id, exception)
            return Unavailable(
                f"The object store can't be used now (request {self.request_id}).",
                remedy="Nothing is lost. Try again in a while; if it stays, tell the operator the request's id.",
                retry_after_seconds=10,
                data={"requestId": self.request_id},
            )
        if isinstance(exception, web.HTTPError) and exception.status_code < 500:
            return self._of_http(exception)
        error = TrainJobError(
            f"The server failed at this request ({self.request_id}).",
            remedy="It is not your fault. Try again; if it stays, tell the operator the request's id.",
            data={"requestId": self.request_id},
        )
        return error

    def _of_http(self, exception: web.HTTPError) -> TrainJobError:
        code = exception.status_code
        message = exception.get_message() if exception.log_message else ""
        error = TrainJobError(message or responses.get(code, "The request failed") + ".")
        if code == 405:
            error = TrainJobError(
                f"{self.request.method} is not possible here.", remedy="Possible: " + ", ".join(self.methods()) + "."
            )
        error.code, error.reason = code, REASONS.get(code, "BadRequest")
        return error

    @classmethod
    def methods(cls) -> list[str]:
        """The HTTP methods that the handler answers."""
        unimplemented = web.RequestHandler._unimplemented_method
        return [name for name in cls.SUPPORTED_METHODS if getattr(cls, name.lower()) is not unimplemented]
