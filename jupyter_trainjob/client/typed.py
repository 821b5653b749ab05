"""Parameter values as JSON that loses nothing: what JSON lacks travels as ``{"$type": T, "value": V}``. Pure.

``T`` is ``float`` (``"NaN"``, ``"Infinity"``, ``"-Infinity"``), ``date`` (``"2026-11-22"``), ``datetime`` (RFC 3339,
without an offset where it has no zone) or ``map`` (an object with a key ``"$type"`` of its own).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from .errors import InputError

TAG = "$type"
_MAX_DEPTH = 64
"""Lists and maps within one another: as many as the server takes."""
_MAX_DIGITS = 4300
"""More than this Python itself does not read back from text."""
_TOO_LONG = 10**_MAX_DIGITS
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode(value: Any, name: str) -> Any:
    """``value`` as plain JSON; :class:`InputError` names the part of the parameter ``name`` that can't be carried.

    Tuples become lists; NumPy's numbers become plain ones.
    """
    return _encode(value, name, 0)


def _encode(value: Any, where: str, depth: int) -> Any:
    if depth + isinstance(value, (Mapping, list, tuple)) > _MAX_DEPTH:
        raise InputError(
            f"The parameter {where[:40]} … is nested more than {_MAX_DEPTH} deep.",
            remedy="Put it into a file and send that with --files.",
        )
    if isinstance(value, Mapping):
        found = {_key(key, where): _encode(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
        return {TAG: "map", "value": found} if TAG in found else found
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _scalar(value, where)


def _scalar(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str.__str__(value), where)
    if isinstance(value, numbers.Integral):
        return _whole(int(value), where)
    if isinstance(value, datetime):
        return {TAG: "datetime", "value": _instant(value, where)}
    if isinstance(value, date):
        return {TAG: "date", "value": value.isoformat()}
    if isinstance(value, float):
        return _float(float(value))
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and value.dtype.kind in "bf":
        return _scalar(value.item(), where)
    raise InputError(
        f"The parameter {where} is of the type {type_text(value)}, which a parameter can't be.",
        remedy="Parameters are None, numbers, text, dates and times, and lists and dicts of these; send other "
        "values with --in (variables={…}).",
    )


def type_text(value: Any) -> str:
    """The name of its type, with the module where that is not Python's own."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {TAG: "float", "value": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _whole(value: int, where: str) -> int:
    if abs(value) >= _TOO_LONG:
        raise InputError(
            f"The parameter {where} is a whole number of more than {_MAX_DIGITS} digits.",
            remedy="Send it with --in (variables={…}).",
        )
    return value


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InputError(
            f"The parameter {where} is a dict with the key {key!r}; keys of parameters are text.",
            remedy="Write the keys as text, or send it with --in (variables={…}).",
        )
    return _text(str.__str__(key), where)


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The parameter {where} holds half of a character (a lone surrogate), which can't be sent as text.",
            remedy="Decode it anew, for example with errors='replace'.",
        ) from None
    return text


def _instant(value: datetime, where: str) -> str:
    """RFC 3339. What its microseconds and whole minutes of offset can't say is refused, or said in UTC."""
    odd: Any = value
    if odd != odd or getattr(odd, "nanosecond", 0):  # pandas: NaT, and times finer than a datetime's
        raise InputError(
            f"The parameter {where} is {value!r}, which is no time to the microsecond.",
            remedy="Round it, send None, or send it with --in (variables={…}).",
        )
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        value = value.astimezone(timezone.utc)
    return value.isoformat()


def decode(value: Any) -> Any:
    """What :func:`encode` made, as Python has it; a tag that is not known here stays as it is."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kind, inner = value.get(TAG), value.get("value")
    if kind == "map" and isinstance(inner, Mapping):
        return {key: decode(item) for key, item in inner.items()}
    if kind is not None and isinstance(inner, str):
        try:
            return _untagged(str(kind), inner)
        except (KeyError, ValueError):
            return dict(value)
    return {key: decode(item) for key, item in value.items()}


def _untagged(kind: str, text: str) -> Any:
    if kind == "float":
        return _FLOATS[text]
    if kind == "date":
        return date.fromisoformat(text)
    if kind == "datetime":
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    raise KeyError(kind)


def shown(value: Any) -> str:
    """A value of a job's parameters for a person: ``0.1``, ``'adam'``, ``NaN``, ``2026-11-22``."""
    if isinstance(value, Mapping) and value.get(TAG) in ("float", "date", "datetime"):
        return str(value.get("value"))
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        inner = value.get("value") if value.get(TAG) == "map" else value
        if isinstance(inner, Mapping):
            return "{" + ", ".join(f"{key!r}: {shown(item)}" for key, item in inner.items()) + "}"
    return repr(value)


def from_yaml(value: Any, name: str) -> Any:
    """A value as YAML reads it, for a file that declares a job: tags in it are tags already, and stay."""
    if isinstance(value, Mapping):
        return {_key(key, name): from_yaml(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [from_yaml(item, f"{name}[{index}]") for index, item in enumerate(value)]
    return _scalar(value, name)
