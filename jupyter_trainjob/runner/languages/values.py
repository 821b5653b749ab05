"""The values of parameters: JSON, and tagged objects for what JSON lacks (docs/architecture.md)."""

from __future__ import annotations

import datetime
import re
from typing import Any

_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))?", re.A
)


def decode(value: Any) -> Any:
    """Tagged objects as ``float``, ``date``, ``datetime`` and ``dict``, at any depth. Raises ``ValueError``."""
    if isinstance(value, list):
        return [decode(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$type" not in value:
        return {key: decode(one) for key, one in value.items()}
    kind, inner = value["$type"], value.get("value")
    if kind == "map" and isinstance(inner, dict):
        return {key: decode(one) for key, one in inner.items()}
    if kind == "float" and isinstance(inner, str) and inner in _FLOATS:
        return _FLOATS[inner]
    if kind == "date" and isinstance(inner, str):
        return datetime.date.fromisoformat(inner)
    if kind == "datetime" and isinstance(inner, str):
        return moment(inner)
    raise ValueError(f"{value!r} is no value of type {kind!r}")


def moment(text: str) -> datetime.datetime:
    """An RFC 3339 date and time, with or without an offset, to the microsecond. Raises ``ValueError``."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no date and time as in 2026-11-22T10:00:00Z")
    *numbers, fraction, utc, sign, hours, minutes = found.groups()
    zone = datetime.timezone.utc if utc else None
    if sign:
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        zone = datetime.timezone(offset if sign == "+" else -offset)
    year, month, day, hour, minute, second = map(int, numbers)
    micros = int((fraction or "0").ljust(6, "0")[:6])
    return datetime.datetime(year, month, day, hour, minute, second, micros, zone)


def depth(value: Any) -> int:
    """How many lists and maps lie in one another."""
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, (list, dict)) else 0
