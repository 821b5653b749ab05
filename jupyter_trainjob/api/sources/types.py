"""Whether a parameter's value fits the type that the code declares. Pure.

Only what is plainly wrong is refused: types that are not known here take anything. Python and Scala write types alike,
``list[int]`` and ``List[Int]``, ``Optional[float]`` and ``Option[Double]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...resources.parameters import TAG

_TOKEN = re.compile(r"\s*(?:(?P<name>[^\W\d][\w.]*)|(?P<text>\"[^\"]*\"|'[^']*')|(?P<number>-?\d+)|(?P<mark>[\[\],|]))")
MAX_TOKENS = 64

_INTEGERS = frozenset({"int", "integer", "long", "short", "byte", "bigint"})
_NUMBERS = _INTEGERS | {"float", "double", "number", "real", "bigdecimal"}
_TEXTS = frozenset({"str", "string"})
_TRUTHS = frozenset({"bool", "boolean"})
_LISTS = frozenset(
    {"list", "tuple", "set", "frozenset", "sequence", "iterable", "collection", "seq", "vector", "array", "indexedseq"}
)
_MAPS = frozenset({"dict", "mapping", "map"})
_DATES = {"date": "date", "localdate": "date", "datetime": "datetime", "localdatetime": "datetime"}
_RANGES = {"Int": 2**31, "Short": 2**15, "Byte": 2**7, "Long": 2**63}
"""Scala's, by their own names: from minus this to one less."""


@dataclass(frozen=True)
class Type:
    """A type as it is written: ``list[int]`` is ``Type("list", (Type("int"),))``, ``a | b`` a ``union`` of two."""

    name: str
    arguments: tuple[Type, ...] = ()
    literal: Any = None


ANYTHING = Type("any")


def read_type(text: str) -> Type:
    """The type that ``text`` says; :data:`ANYTHING` where it is not of this simple form."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None or len(tokens) >= MAX_TOKENS:
            return ANYTHING
        tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
        place = found.end()
    reader = _Reader(tokens)
    try:
        type_ = reader.union()
    except (IndexError, ValueError):
        return ANYTHING
    return type_ if reader.place == len(tokens) else ANYTHING


class _Reader:
    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.place = 0

    def union(self) -> Type:
        options = [self.one()]
        while self._is("|"):
            self.place += 1
            options.append(self.one())
        return options[0] if len(options) == 1 else Type("union", tuple(options))

    def one(self) -> Type:
        kind, text = self.tokens[self.place]
        self.place += 1
        if kind == "text":
            return Type("literal", literal=text[1:-1])
        if kind == "number":
            return Type("literal", literal=int(text))
        if kind != "name":
            raise ValueError(text)
        arguments: list[Type] = []
        if self._is("["):
            while not self._is("]"):
                self.place += 1
                arguments.append(self.union())
                if not self._is(",") and not self._is("]"):
                    raise ValueError(text)
            self.place += 1
        return Type(text.rpartition(".")[2], tuple(arguments))

    def _is(self, mark: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place] == ("mark", mark)


def fits(value: Any, type_: Type) -> bool:
    """Whether ``value``, a parameter's JSON, may stand for ``type_``."""
    name = type_.name.lower()
    if name == "literal" and not type_.arguments:
        return bool(value == type_.literal)
    if name in ("union", "literal"):
        return any(fits(value, option) for option in type_.arguments)
    if name in ("optional", "option"):
        return value is None or all(fits(value, option) for option in type_.arguments)
    if isinstance(value, dict) and TAG in value:
        return _tagged_fits(value, type_)
    for names, right in _PLAIN:
        if name in names:
            return right(value, type_)
    if name in _DATES:
        return isinstance(value, str)  # that it is one is for the code to say
    return value is None if name == "none" else True


def _tagged_fits(value: dict[str, Any], type_: Type) -> bool:
    name, tag = type_.name.lower(), value[TAG]
    if tag == "map":
        known = _NUMBERS | _TEXTS | _TRUTHS | _LISTS | _DATES.keys()
        return name not in known and (name not in _MAPS or _map(value["value"], type_))
    if tag == "float":
        return name not in _INTEGERS | _TEXTS | _TRUTHS | _LISTS | _MAPS | _DATES.keys()
    return _DATES[name] == tag if name in _DATES else name not in _NUMBERS | _TEXTS | _TRUTHS | _LISTS | _MAPS


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _integer(value: Any, type_: Type) -> bool:
    bound = _RANGES.get(type_.name)
    return _is_number(value) and value == int(value) and (bound is None or -bound <= value < bound)


def _list(value: Any, type_: Type) -> bool:
    if not isinstance(value, list):
        return False
    if len(type_.arguments) != 1:
        return True  # tuple[int, str] and the like
    return all(fits(item, type_.arguments[0]) for item in value)


def _map(value: Any, type_: Type) -> bool:
    if not isinstance(value, dict):
        return False
    return len(type_.arguments) != 2 or all(fits(item, type_.arguments[1]) for item in value.values())


_PLAIN = (
    (_INTEGERS, _integer),
    (_NUMBERS, lambda value, _: _is_number(value)),
    (_TEXTS, lambda value, _: isinstance(value, str)),
    (_TRUTHS, lambda value, _: isinstance(value, bool)),
    (_LISTS, _list),
    (_MAPS, _map),
)


def misfit(value: Any, type_: Type) -> Any:
    """The part of ``value`` to name: the first item that is none where the list itself is right."""
    name = type_.name.lower()
    if name in ("optional", "option") and len(type_.arguments) == 1 and value is not None:
        return misfit(value, type_.arguments[0])
    inner: Iterator[tuple[Any, Type]] = iter(())
    if isinstance(value, list) and name in _LISTS and len(type_.arguments) == 1:
        inner = ((item, type_.arguments[0]) for item in value)
    if isinstance(value, dict) and name in _MAPS and len(type_.arguments) == 2:
        inner = ((item, type_.arguments[1]) for item in value.values())
    return next((misfit(item, wanted) for item, wanted in inner if not fits(item, wanted)), value)


def word(value: Any) -> str:
    """A value in a sentence: ``the string 'abc'``, ``the number 3``, ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    if isinstance(value, str):
        return f"the string {value[:60]!r}"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:60]}"
    if isinstance(value, list):
        return "a list"
    tag = value.get(TAG)
    return (
        {"float": "the number", "date": "the date", "datetime": "the time"}[tag] + f" {value['value']}"
        if (tag in ("float", "date", "datetime"))
        else "an object"
    )
