"""What can go wrong, as exceptions whose text says what happened, which value, and what to do."""

from __future__ import annotations

import json
from typing import Any


class TrainJobError(Exception):
    """Base of all errors of this client.

    ``details`` are the server's field errors (``field``, ``message``, ``value``, ``remedy``), ``data`` is what else it
    said, ``code`` the HTTP status (0 when no server was involved), ``retry_after_seconds`` when asking again may help.
    """

    code = 0
    reason = ""

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        details: list[dict[str, Any]] | None = None,
        data: dict[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details or []
        self.data = data or {}
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        lines = [f"{self.message} {self.remedy}".strip()]
        if len(self.details) > 1:
            for detail in self.details:
                text = f"{detail.get('message', '')} {detail.get('remedy', '')}".strip()
                lines.append(f"  {detail.get('field', '?')}: {text}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, and none of the frames between a cell and the wire."""
        return f"{type(self).__name__}: {self}".splitlines()


class BadRequest(TrainJobError):
    """The server could not read the request."""

    code, reason = 400, "BadRequest"


class Unauthorized(TrainJobError):
    """The server does not know who asks."""

    code, reason = 401, "Unauthorized"


class Forbidden(TrainJobError):
    """The server knows who asks, and they may not."""

    code, reason = 403, "Forbidden"


class NotFound(TrainJobError):
    """There is no such thing, or one may not know of it."""

    code, reason = 404, "NotFound"


class AlreadyExists(TrainJobError):
    """The name is taken."""

    code, reason = 409, "AlreadyExists"


class Conflict(TrainJobError):
    """The object changed meanwhile, or its state does not allow the verb."""

    code, reason = 409, "Conflict"


class Expired(TrainJobError):
    """The feed no longer reaches back that far."""

    code, reason = 410, "Expired"


class TooLarge(TrainJobError):
    """The body is larger than the server takes."""

    code, reason = 413, "TooLarge"


class RangeNotSatisfiable(TrainJobError):
    """The byte range lies outside the object."""

    code, reason = 416, "RangeNotSatisfiable"


class Invalid(TrainJobError):
    """The object can't be accepted; ``details`` names every field."""

    code, reason = 422, "Invalid"


class TooMany(TrainJobError):
    """A limit is reached for now."""

    code, reason = 429, "TooMany"


class Unavailable(TrainJobError):
    """A part that is needed is not there now."""

    code, reason = 503, "Unavailable"


class ServerError(TrainJobError):
    """The server had an accident."""

    code, reason = 500, "InternalError"


class ServerNotFound(TrainJobError):
    """None of the four places names a server that answers."""


class ConnectionLost(TrainJobError):
    """The server was there and does not answer any more. ``sent``: the request may have been carried out."""

    def __init__(self, message: str, *, sent: bool = False, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.sent = sent


class WaitTimeout(TrainJobError, TimeoutError):
    """The job is not finished within the time given to ``wait``. The job goes on."""


class JobFailed(TrainJobError):
    """The job ended, and not with success. The job's own traceback is shown, none of this client's frames."""

    def __init__(self, message: str, *, phase: str, job_reason: str, traceback: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.phase = phase
        self.job_reason = job_reason
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback.splitlines(), *super()._render_traceback_()]


class ResultError(TrainJobError):
    """A result is not there, can't be read here, or must not be read."""


class InputError(TrainJobError):
    """Something that was to be sent with the job can't be."""


_BY_REASON: dict[str, type[TrainJobError]] = {
    kind.reason: kind
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        AlreadyExists,
        Conflict,
        Expired,
        TooLarge,
        RangeNotSatisfiable,
        Invalid,
        TooMany,
        Unavailable,
        ServerError,
    )
}
_BY_CODE: dict[int, type[TrainJobError]] = {
    kind.code: kind for kind in reversed(_BY_REASON.values()) if kind is not AlreadyExists
}


def from_response(code: int, body: bytes, url: str) -> TrainJobError:
    """The exception for an answer of 400 or more; understands our ``Status``, jupyter_server's JSON, and anything."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {}
    kind = _BY_REASON.get(str(status.get("reason", ""))) or _BY_CODE.get(code)
    if kind is None:
        kind = ServerError if code >= 500 else TrainJobError
    if status.get("kind") == "Status":
        error = kind(
            str(status.get("message", "")),
            remedy=str(status.get("remedy", "")),
            details=[item for item in status.get("details", []) if isinstance(item, dict)],
            data=status.get("data") if isinstance(status.get("data"), dict) else None,
            retry_after_seconds=status.get("retryAfterSeconds"),
        )
    else:
        said = status.get("message")
        error = kind(f"The server at {url} answered {code}" + (f": {said}" if said else "."))
    error.code = code
    return error
