"""Continue tokens: opaque, checked, and good only for the list they came from. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..resources.errors import BadRequest

_REMEDY = "List again without 'continue'."
_MAX = 2**62


@dataclass(frozen=True)
class Position:
    """Where the next page begins: behind the object ``last``. ``version`` is the feed's at the first page."""

    last: int
    version: int


def fingerprint(**filters: Any) -> str:
    """A short text that differs when the filters do."""
    text = json.dumps(filters, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def encode(position: Position, filters: str) -> str:
    """The token of ``position`` in the list whose filters have this fingerprint."""
    body = f"1.{position.last}.{position.version}"
    return base64.urlsafe_b64encode(f"{body}.{_check(body, filters)}".encode()).decode().rstrip("=")


def decode(token: str, filters: str) -> Position:
    """The position of a token; :class:`BadRequest` for one that is not ours or belongs to another list."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        body, _, check = text.rpartition(".")
        layout, last, version = body.split(".")
        position = Position(int(last), int(version))
    except (binascii.Error, UnicodeError, ValueError):
        raise BadRequest(f"The continue token {token[:80]!r} can't be read.", remedy=_REMEDY) from None
    if layout != "1" or not (0 <= position.last < _MAX and 0 <= position.version < _MAX):
        raise BadRequest(f"The continue token {token[:80]!r} can't be read.", remedy=_REMEDY)
    if check != _check(body, filters):
        raise BadRequest(
            f"The continue token {token[:80]!r} belongs to a list with other filters.",
            remedy="Repeat the filters of the first page, or list again without 'continue'.",
        )
    return position


def _check(body: str, filters: str) -> str:
    return hashlib.sha256(f"{body}.{filters}".encode()).hexdigest()[:12]
