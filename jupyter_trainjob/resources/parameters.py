"""Parameter values: JSON, and what JSON lacks as tagged objects ``{"$type": T, "value": V}``.

``T`` is ``float`` (``NaN``, ``Infinity``, ``-Infinity``), ``date``, ``datetime`` (RFC 3339, also without an offset) or
``map`` (an object whose own keys would look like a tag).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from pydantic_core import PydanticCustomError

TAG = "$type"
MAX_PARAMETERS_BYTES = 256 * 1024
MAX_PARAMETER_DEPTH = 64
MAX_SMALL = 16
"""So few short ones need no look at their size: of a number are 4,300 digits at most, of a character six bytes."""
LARGEST_EXACT_R = 2**53
"""R has 32-bit integers, and doubles for larger numbers: exact up to this."""

_FLOATS = ("NaN", "Infinity", "-Infinity")
_EXAMPLES = {
    "float": {TAG: "float", "value": "NaN"},
    "date": {TAG: "date", "value": "2026-11-22"},
    "datetime": {TAG: "datetime", "value": "2026-11-22T09:30:00Z"},
    "map": {TAG: "map", "value": {}},
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?\Z", re.ASCII)


def check(name: str, value: Any) -> None:
    """Raise an error that names the parameter, the value and what can be, unless ``value`` is one."""
    if value is None or isinstance(value, (str, int)):
        return
    if _depth(value) > MAX_PARAMETER_DEPTH:
        raise _error(name, f"it is nested more than {MAX_PARAMETER_DEPTH} deep", None, "Put it into a file.")
    for part in _parts(value):
        if isinstance(part, float) and not math.isfinite(part):
            raise _error(
                name,
                "it holds NaN or an infinity, which JSON can't carry",
                None,
                f"Send {_example('float')}, a string or null.",
            )
        if isinstance(part, dict) and TAG in part:
            _check_tagged(name, part)


def check_size(values: dict[str, Any]) -> None:
    """Raise an error where all parameters together are too large."""
    if len(values) <= MAX_SMALL and all(_is_small(name) and _is_small(value) for name, value in values.items()):
        return
    if len(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")) > MAX_PARAMETERS_BYTES:
        raise ValueError("the parameters are larger than 256 KiB; put them into a file and send it with --files")


def _is_small(value: Any) -> bool:
    """Whether its JSON is surely less than half of what each of so few may take."""
    return value is None or isinstance(value, (bool, float, int)) or (isinstance(value, str) and len(value) <= 500)


def whole_numbers(value: Any) -> Iterator[int]:
    """Every whole number in a checked value."""
    return (part for part in _parts(value) if isinstance(part, int) and not isinstance(part, bool))


def texts(value: Any) -> Iterator[str]:
    """Every text in a checked value, the keys of objects too."""
    for part in _parts(value):
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part


def _check_tagged(name: str, value: dict[str, Any]) -> None:
    tag, inner = value[TAG], value.get("value")
    tags = f"The types are {', '.join(_EXAMPLES)}; for example {{}}."
    if not isinstance(tag, str) or tag not in _EXAMPLES:
        shown = tag[:80] if isinstance(tag, str) else tag
        raise _error(name, f"there is no type {_shown(shown)}", shown, tags.format(_example("date")))
    remedy = tags.format(_example(tag))
    if value.keys() != {TAG, "value"}:
        problem = f'an object with the key "{TAG}" has this and "value", and nothing else'
        raise _error(name, problem, tag, f"Send a plain object with such a key as {_example('map')}. {remedy}")
    if not _fits(tag, inner):
        raise _error(name, f"{_shown(inner)} is no {tag}", inner, remedy)


def _fits(tag: str, value: Any) -> bool:
    if tag == "map":
        return isinstance(value, dict)
    if not isinstance(value, str):
        return False
    if tag == "float":
        return value in _FLOATS
    try:
        if tag == "date":
            return _DATE.match(value) is not None and date.fromisoformat(value) is not None
        return _is_datetime(value)
    except ValueError:
        return False


def _is_datetime(value: str) -> bool:
    """``ValueError`` for a day, an hour or an offset that there is not."""
    found = _DATETIME.match(value)
    if found is None:
        return False
    offset = (found[3] or "").upper().replace("Z", "+00:00")
    datetime.fromisoformat(found[1].upper() + offset)
    return True


def _parts(value: Any) -> Iterator[Any]:
    """``value``, which is of bounded depth, and all that is in it; of a map not the tag's own object as a value."""
    yield value
    if isinstance(value, dict):
        if value.get(TAG) == "map" and isinstance(value.get("value"), dict):
            value = value["value"]  # its keys are its own, also one that looks like a tag
        for inner in value.values():
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, looked at level by level: no recursion, the value may be hostile."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > MAX_PARAMETER_DEPTH:
            break
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _example(tag: str) -> str:
    return json.dumps(_EXAMPLES[tag])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _error(name: str, problem: str, value: Any, remedy: str) -> PydanticCustomError:
    told = {"problem": problem, "below": name, "remedy": remedy}
    return PydanticCustomError("told", "{problem}", told | ({"given": value} if isinstance(value, str) else {}))
