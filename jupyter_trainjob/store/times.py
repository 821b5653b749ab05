"""Instants as the record keeps them: RFC 3339 in UTC with microseconds, which sorts as text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]


def now() -> datetime:
    """The wall clock."""
    return datetime.now(timezone.utc)


def to_text(instant: datetime) -> str:
    """``2026-01-31T09:30:00.000000Z``"""
    return instant.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """What :func:`to_text` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
