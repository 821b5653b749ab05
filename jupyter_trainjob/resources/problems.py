"""Pydantic's findings in the words of a person who wrote a job, with paths as they wrote them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from .errors import FieldError

WHOLE = "(the whole object)"
"""The path of the object itself."""
SHORTEST_BEGINNING = 3
"""Letters from which on the beginning of a name says which one is meant."""

Words = Callable[[Any, Mapping[str, Any]], tuple[str, str]]
"""From a value and what pydantic knows of the rule to a message and a remedy."""


def _items(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    return f"it has {rule['actual_length']} entries, the limit is {rule['max_length']}", "Send fewer."


def _characters(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    return f"it has {len(value)} characters, the limit is {rule['max_length']}", "Write a shorter one."


def _at_least(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    return f"{value} is less than {rule['ge']}", f"Write at least {rule['ge']}."


def _at_most(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    return f"{value} is more than {rule['le']}", f"Write at most {rule['le']}."


def _one_of(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    given = repr(_short(value)) if isinstance(value, (str, int, float)) else "this"
    return f"{given} is none of its values", f"Write {rule['expected']}."


def _tag(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    return f"there is no type {rule['tag']!r}", f"Write one of {rule['expected_tags']}."


def _always(message: str, remedy: str = "") -> Words:
    return lambda value, rule: (message, remedy)


_INTEGER = _always("it must be a whole number", "Write for example 2.")
_BOOLEAN = _always("it must be true or false")
_NUMBER = _always("it must be a number", "Write for example 0.5.")
_OBJECT = _always("it must be an object", "Write {…} in JSON, a mapping in YAML.")
_TIME = _always("it must be a time", "Write for example 2026-01-31T12:00:00Z.")

_WORDS: dict[str, Words] = {
    "missing": _always("this field is needed"),
    "string_type": _always("it must be text"),
    "string_too_long": _characters,
    "too_long": _items,
    "greater_than_equal": _at_least,
    "less_than_equal": _at_most,
    "literal_error": _one_of,
    "enum": _one_of,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _always("this field is needed", "The schema at /schemas/<Kind> names the types there are."),
    "list_type": _always("it must be a list", "Write […] in JSON."),
    "tuple_type": _always("it must be a list", "Write […] in JSON."),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_parsing_size": _INTEGER,
    "int_from_float": _INTEGER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
}


def field_errors(error: ValidationError, data: Any, places: Mapping[str, str]) -> list[FieldError]:
    """All findings about ``data``: dotted path, a sentence without jargon, the value shortened, what to write instead.

    ``places``: the name of each field that a person may write → its path, for a word that was misspelt or misplaced.
    """
    found = []
    for item in error.errors(include_url=False):
        kind, value, rule = item["type"], item.get("input"), item.get("ctx", {})
        path = _path(item["loc"], data)
        if kind == "extra_forbidden":
            message, remedy = "there is no such field", _spelling(str(item["loc"][-1]), places)
        elif kind in _WORDS:
            message, remedy = _WORDS[kind](value, rule)
        elif kind == "told":  # by a validator that knows more than pydantic
            message, remedy, value = rule["problem"], rule["remedy"], rule.get("given")
            path = f"{path}.{rule['below']}"
        else:
            message, remedy = item["msg"].removeprefix("Value error, "), ""
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            path = f"{path}.{str(rule['discriminator']).strip(chr(39))}"
            value = rule.get("tag")
        found.append(FieldError(path, message, _short(value), remedy))
    return found


def _spelling(name: str, places: Mapping[str, str]) -> str:
    if name in places:
        return f"Write it as {places[name]}."
    near = difflib.get_close_matches(name, places, n=1, cutoff=0.75)
    if not near and len(name) >= SHORTEST_BEGINNING:
        near = [word for word in sorted(places) if word.lower().startswith(name.lower())][:1]
    return f"Did you mean {near[0]!r}?" if near else "Take it out; the schema at /schemas/<Kind> names those there are."


def _path(location: tuple[int | str, ...], data: Any) -> str:
    """``spec.inputs[0].path``. Pydantic puts a union's tag into the location; nobody wrote that."""
    text = ""
    tagged = False
    for part in location:
        if isinstance(part, str) and not tagged and isinstance(data, dict) and data.get("type") == part:
            tagged = True
            continue
        tagged = False
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
        data = _below(data, part)
    return text.lstrip(".") or WHOLE


def _below(data: Any, part: int | str) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data):
        return data[part]
    return None


def _short(value: Any) -> Any:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    if isinstance(value, str):
        return value if len(value) <= 120 else value[:117] + "…"
    return None
