"""Scala: told by the compiler of the kernel's own jars where there is one; parameters are read here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from .findings import Complaint, ParameterInfo, shorten
from .language import without_own_magic
from .lexed import Assigned, Lexed
from .lexing import (
    MAX_DEPTH,
    NotLiteral,
    Token,
    Tokens,
    call,
    keywords,
    source,
    split,
    unescape,
    words,
)
from .scalaparser import ScalaParser

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?)
  | (?P<string>\"{3}(?:[^"]|"(?!""))*(?:"{3,})?|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\u+[0-9a-fA-F]{4}|\\.)')
  | (?P<quoted>`[^`\n]*`?)
  | (?P<number>0[xX][0-9a-fA-F_]+[lL]?|(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?[lLdDfF]?)
  | (?P<name>[^\W\d]\w*)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<op>[,;.]|[-+*/^=<>&|!~?:@#%\\]+)
  | (?P<newline>\n)
  | (?P<space>[^\S\n]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_MODIFIERS = keywords("private protected implicit lazy final override sealed transient volatile @")
_OPEN_ENDED = keywords("extends with else yield match new case do try if for while return")
_GOES_ON = keywords(". extends with else catch finally match yield =>")
_KEYWORDS = keywords(
    "abstract case catch class def do else extends false final finally for forSome if implicit import lazy match new "
    "null object override package private protected return sealed super this throw trait try true type val var while "
    "with yield print println"
)
MAX_DIGITS = 1000
"""Of a whole number that is told; Scala's own literals have 20."""
_LISTS = frozenset({"List", "Seq", "Vector", "Array", "IndexedSeq", "Set"})


class Scala(Lexed):
    """Scala cells."""

    name = "scala"
    title = "Scala"

    token = _TOKEN

    def __init__(self, parser: ScalaParser) -> None:
        self._parser = parser

    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What the compiler's parser says of each cell; nothing where there is none, or where it isn't ready soon."""
        return self._parser.complaints([without_own_magic(text) for text in texts])

    def goes_on(self, before: Sequence[Token], following: Token) -> bool:
        """As Scala's rules for newlines have it, near enough."""
        return _goes_on(before, following)

    def assigned(self, statement: Sequence[Token]) -> Iterator[Assigned]:
        """``val`` and ``var``."""
        return _assigned(statement)

    def parameter(self, name: str, type_: str, value: Sequence[Token], code: str, help_: str) -> ParameterInfo:
        """Its type is the one that is written, else that of its value."""
        return _parameter(name, type_, value, code, help_)

    def loose(self, tokens: Tokens) -> set[str]:
        """Types are none."""
        return _loose(tokens)

    def names(self, token: Token) -> list[str]:
        """Of ``a.b`` in a string both."""
        return [part for word in words(token) for part in word.split(".")]

    def is_opaque(self, code: str, used: Collection[str]) -> bool:
        """A magic gets the text."""
        return code.lstrip().startswith("%%")

    def close(self) -> None:
        """End the compiler."""
        self._parser.close()


def _goes_on(before: Sequence[Token], following: Token) -> bool:
    """Whether a statement goes on over a line end, as Scala's rules for newlines have it, near enough."""
    last = before[-1]
    return (
        (last.kind == "op" and last.text != ";")
        or last.text in _OPEN_ENDED
        or following.text in _GOES_ON
        or last.text in _MODIFIERS
    )


def _assigned(statement: Sequence[Token]) -> Iterator[Assigned]:
    """Name, type and value of what ``val`` or ``var`` sets; of a pattern only the names."""
    begin = 0
    while begin < len(statement) and statement[begin].text in _MODIFIERS:
        begin += 1
    if begin >= len(statement) or statement[begin].text not in ("val", "var"):
        return
    rest = statement[begin + 1 :]
    equals = _equals(rest)
    if equals is None:
        return
    left, value = rest[:equals], rest[equals + 1 :]
    if left and left[0].kind in ("name", "quoted") and (len(left) == 1 or left[1].text == ":"):
        yield words(left[0])[0], left[2:], value
        return
    for token in left:
        if token.kind == "name" and token.text[:1].islower():
            yield token.text, (), ()


def _equals(tokens: Sequence[Token]) -> int | None:
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth == 0 and token.text == "=":
            return index
    return None


def _loose(tokens: Tokens) -> set[str]:
    """Names that are no words of the language, no types, no functions that are called, and no parts of something."""
    found = set()
    row = [token for token in tokens.all if token.kind != "newline"]
    for index, token in enumerate(row):
        before = row[index - 1].text if index else ""
        after = row[index + 1].text if index + 1 < len(row) else ""
        plain = token.kind == "name" and not token.text[:1].isupper()
        if plain and before not in (".", "import", "def") and after not in ("(", "=>", '"'):
            found.add(token.text)
    return found - _KEYWORDS


# Parameters


def _parameter(name: str, type_: str, value: Sequence[Token], code: str, help_: str) -> ParameterInfo:
    declared = " ".join(type_.split())[:200]
    expression = shorten(source(code, value))
    try:
        default = _value(value, 0)
    except NotLiteral:
        return ParameterInfo(name, declared, bool(declared), expression=expression, help=help_)
    inferred = declared or _type_of(value, default)
    return ParameterInfo(name, inferred, bool(declared), default, True, expression, help_)


def _type_of(value: Sequence[Token], default: Any) -> str:
    """As Scala infers it, of simple literals; empty else."""
    if len(value) > 2:
        return value[0].text if value[0].text in ("BigInt", "BigDecimal", "Double", "Float") else ""
    if isinstance(default, bool):
        return "Boolean"
    if isinstance(default, str):
        return "Char" if value[0].text.startswith("'") else "String"
    if isinstance(default, int):
        return "Long" if value[-1].text[-1] in "lL" else "Int"
    if isinstance(default, float) or (isinstance(default, dict) and default.get("$type") == "float"):
        return "Float" if value[-1].text[-1] in "fF" else "Double"
    return ""


def _value(tokens: Sequence[Token], depth: int) -> Any:
    """The value of a literal as a parameter's JSON: ``Some(1)`` is 1, ``None`` is null."""
    if not tokens or depth > MAX_DEPTH:
        raise NotLiteral
    if len(tokens) == 1:
        return _scalar(tokens[0])
    texts = [token.text for token in tokens]
    if len(tokens) == 2 and texts[0] in ("-", "+") and tokens[1].kind == "number":
        inner = _scalar(tokens[1])
        return -inner if texts[0] == "-" else inner
    if texts[:2] in (["Double", "."], ["Float", "."]) and len(texts) == 3:
        special = {"NaN": "NaN", "PositiveInfinity": "Infinity", "NegativeInfinity": "-Infinity"}
        if texts[2] in special:
            return {"$type": "float", "value": special[texts[2]]}
    found = call(tokens)
    if found is None:
        raise NotLiteral
    return _called(*found, depth)


def _called(name: str, inside: Sequence[Token], depth: int) -> Any:
    parts = split(inside)
    if name in ("Some", "Option", "BigInt", "BigDecimal") and len(parts) == 1:
        value = _value(parts[0], depth + 1)
        return int(value) if name == "BigInt" and isinstance(value, str) and _is_integer(value) else value
    if name in _LISTS:
        return [_value(part, depth + 1) for part in parts]
    if name.endswith("LocalDate.parse") and len(parts) == 1 and isinstance(date := _value(parts[0], depth), str):
        return {"$type": "date", "value": date}
    if name != "Map":
        raise NotLiteral
    entries = {}
    for part in parts:
        if len(part) < 3 or part[0].kind != "string" or part[1].text != "->":
            raise NotLiteral
        entries[str(_scalar(part[0]))] = _value(part[2:], depth + 1)
    return {"$type": "map", "value": entries} if "$type" in entries else entries


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,1000}", text) is not None


def _scalar(token: Token) -> Any:
    text = token.text
    if token.kind == "name" and text in ("true", "false", "null", "None"):
        return {"true": True, "false": False}.get(text)
    if token.kind == "string":
        return _text(text)
    if token.kind == "name" and text == "Nil":
        return []
    if token.kind != "number":
        raise NotLiteral
    digits = text.replace("_", "")
    if digits[:2].lower() == "0x":
        return int(digits.rstrip("lL"), 16) if len(digits) < MAX_DIGITS else _refuse()
    if digits[-1] in "lL":
        return int(digits[:-1]) if len(digits) < MAX_DIGITS else _refuse()
    if digits.isdecimal():
        return int(digits) if len(digits) < 20 else _refuse()
    number = float(digits.rstrip("dDfF"))
    return number if number < float("inf") else _refuse()


def _refuse() -> Any:
    raise NotLiteral


def _text(text: str) -> str:
    if text.startswith('"""') and text.endswith('"""') and len(text) >= 6:
        return text[3:-3]
    if len(text) > 1 and text[-1] == text[0]:
        return unescape(text[1:-1])
    raise NotLiteral
