"""Label selectors as Kubernetes writes them. Pure.

``a=b, c==d, e!=f, g in (h,i), j notin (k), l, !m``: all parts must hold. As in Kubernetes, ``e!=f`` and ``notin``
also hold for objects without the label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..resources.errors import BadRequest
from ..resources.names import label_key_error, label_value_error

Operator = Literal["in", "notin", "exists", "absent"]

_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\Z")
_EQUALITY = re.compile(r"(?P<key>[^=!\s]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^=!\s]*)\Z")
_REMEDY = "Write for example: team=blue,stage!=test,size in (s,m),!draft"
MAX_LENGTH = 4096


@dataclass(frozen=True)
class Requirement:
    """One part of a selector: the label ``key`` is (not) in ``values``, is there, or is not there."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels fulfils it."""
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "absent":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "in")


def parse_selector(text: str) -> list[Requirement]:
    """Read a selector; empty text selects everything. :class:`BadRequest` names the part that can't be read."""
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"The label selector has {len(text)} characters, the limit is {MAX_LENGTH}.", remedy=_REMEDY)
    if not text.strip():
        return []
    return [_requirement(part.strip(), text) for part in _split(text)]


def _split(text: str) -> list[str]:
    """Cut at the commas outside parentheses."""
    parts, start, depth = [], 0, 0
    for index, letter in enumerate(text):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
        if depth not in (0, 1):
            raise _bad(text[start:], text, "its parentheses do not match")
    if depth:
        raise _bad(text[start:], text, "its parenthesis is not closed")
    return [*parts, text[start:]]


def _requirement(part: str, text: str) -> Requirement:
    if not part:
        raise _bad(part, text, "there is nothing between two commas")
    if found := _SET.match(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        if not found["values"].strip():
            raise _bad(part, text, "the parentheses are empty")
        return _checked(found["key"], "in" if found["operator"] == "in" else "notin", values, part, text)
    if found := _EQUALITY.match(part):
        operator: Operator = "notin" if found["operator"] == "!=" else "in"
        return _checked(found["key"], operator, (found["value"],), part, text)
    if part.startswith("!"):
        return _checked(part[1:].strip(), "absent", (), part, text)
    return _checked(part, "exists", (), part, text)


def _checked(key: str, operator: Operator, values: tuple[str, ...], part: str, text: str) -> Requirement:
    problem = label_key_error(key)
    if problem:
        raise _bad(part, text, f"{_short(key, 80)!r} is no label key: {problem}")
    for value in values:
        problem = label_value_error(value)
        if problem:
            raise _bad(part, text, f"{_short(value, 80)!r} is no label value: {problem}")
    return Requirement(key, operator, tuple(dict.fromkeys(values)))


def _bad(part: str, text: str, problem: str) -> BadRequest:
    where = "" if part.strip() == text.strip() else f" in {_short(text, 200)!r}"
    return BadRequest(
        f"The part {_short(part.strip(), 120)!r}{where} of the label selector can't be read: {problem}.", remedy=_REMEDY
    )


def _short(text: str, maximum: int) -> str:
    return text if len(text) <= maximum else text[: maximum - 1] + "…"
