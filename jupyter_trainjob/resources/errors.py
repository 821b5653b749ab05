"""Errors that reach a person. Standard library only: supervisors import this too.

Every error says what happened, which value, and what to do about it. The same data travels as JSON
(:meth:`TrainJobError.to_dict`) with the HTTP status in :attr:`TrainJobError.code`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

API_VERSION: Final = "jupyter-trainjob/v1"


@dataclass(frozen=True)
class FieldError:
    """One field that can't be accepted.

    ``field`` is a path as the user wrote it (``spec.resources.memory``); ``value`` is what was given,
    shortened where it is long; ``remedy`` says what to write instead.
    """

    field: str
    message: str
    value: Any = None
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without the parts that are empty."""
        data: dict[str, Any] = {"field": self.field, "message": self.message}
        if self.value is not None:
            data["value"] = self.value
        if self.remedy:
            data["remedy"] = self.remedy
        return data


class TrainJobError(Exception):
    """Base of all errors that are answers, not accidents."""

    code = 500
    reason = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        details: Iterable[FieldError] = (),
        retry_after_seconds: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = list(details)
        self.retry_after_seconds = retry_after_seconds
        self.data = data or {}

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer: a ``Status`` object, as Kubernetes names it."""
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": "Status",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "details": [detail.to_dict() for detail in self.details],
        }
        if self.remedy:
            body["remedy"] = self.remedy
        if self.retry_after_seconds is not None:
            body["retryAfterSeconds"] = self.retry_after_seconds
        if self.data:
            body["data"] = self.data
        return body


class BadRequest(TrainJobError):
    """The request itself can't be read (malformed JSON, an unknown query argument)."""

    code = 400
    reason = "BadRequest"


class Unauthorized(TrainJobError):
    """Nobody is known behind the request."""

    code = 401
    reason = "Unauthorized"


class Forbidden(TrainJobError):
    """The person is known and may not do this."""

    code = 403
    reason = "Forbidden"


class NotFound(TrainJobError):
    """There is no such thing, or the person may not know of it (the same answer for both)."""

    code = 404
    reason = "NotFound"


class AlreadyExists(TrainJobError):
    """The name is taken."""

    code = 409
    reason = "AlreadyExists"


class Conflict(TrainJobError):
    """The object changed since it was read, or its state does not allow the verb."""

    code = 409
    reason = "Conflict"


class Expired(TrainJobError):
    """The feed no longer holds what came after this version: list again."""

    code = 410
    reason = "Expired"


class TooLarge(TrainJobError):
    """The body is larger than the server takes."""

    code = 413
    reason = "TooLarge"


class RangeNotSatisfiable(TrainJobError):
    """The byte range lies outside the object."""

    code = 416
    reason = "RangeNotSatisfiable"


class Invalid(TrainJobError):
    """The object can't be accepted; ``details`` lists every field at once."""

    code = 422
    reason = "Invalid"


class TooMany(TrainJobError):
    """A limit on queued jobs, stored bytes or a budget is reached for now."""

    code = 429
    reason = "TooMany"


class Unavailable(TrainJobError):
    """A part that is needed is not there now; asking again later may help."""

    code = 503
    reason = "Unavailable"


def invalid(details: Iterable[FieldError], what: str = "The object") -> Invalid:
    """An :class:`Invalid` whose message holds the first field, for those who read one line only."""
    found = list(details)
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Invalid(
        f"{what} can't be accepted: {first.field}: {first.message.rstrip('.')}{more}.",
        remedy=first.remedy,
        details=found,
    )
