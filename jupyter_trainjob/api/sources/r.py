"""R: told by R's own parser where there is one; parameters are read here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from .findings import Complaint, ParameterInfo, shorten
from .language import without_own_magic
from .lexed import Assigned, Lexed
from .lexing import (
    MAX_DEPTH,
    MAX_INTEGER_BITS,
    NotLiteral,
    Token,
    Tokens,
    call,
    keywords,
    source,
    split,
    unescape,
)
from .rparser import RParser

_RAW = "|".join(
    rf"[rR]{quote}{begin}(?:[^{end}]|{end}(?!{quote}))*(?:{end}{quote})?"
    for quote in "\"'"
    for begin, end in (("\\(", "\\)"), ("\\[", "\\]"), ("\\{", "\\}"))
)
"""Raw strings, but for those with dashes."""
_TOKEN = re.compile(
    rf"(?P<string>{_RAW}|"
    r"""
    "(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)
  | (?P<comment>\#[^\n]*)
  | (?P<quoted>`(?:[^`\\]|\\.)*`?)
  | (?P<number>0[xX][0-9a-fA-F]+[Li]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[Li]?)
  | (?P<name>(?:[^\W\d_]|\.(?!\d))[\w.]*)
  | (?P<special>%[^%\s]*%)
  | (?P<op><<-|<-|->>|->|<=|>=|==|!=|&&|\|\||:::|::|\|>|[-+*/^=<>&|!~?:$@,;\\])
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<newline>\n)
  | (?P<space>[^\S\n]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SETS = ("<-", "=", "<<-")
_HEADS = frozenset({"if", "for", "while", "function", "\\"})
_OPEN_ENDED = frozenset({"else", "repeat", "function", "in"})
_KEYWORDS = keywords(
    "if else repeat while function for next break in TRUE FALSE NULL Inf NaN NA NA_integer_ NA_real_ NA_character_ T F "
    "library require pi letters LETTERS c list print cat paste"
)
_DYNAMIC = keywords(
    "eval evalq parse source get get0 mget exists assign environment globalenv parent.frame ls with within attach "
    "sys.source rlang str2lang str2expression"
)
_CONSTANTS: dict[str, Any] = {
    "TRUE": True,
    "T": True,
    "FALSE": False,
    "F": False,
    "NULL": None,
    "NaN": {"$type": "float", "value": "NaN"},
    "Inf": {"$type": "float", "value": "Infinity"},
}


class R(Lexed):
    """R cells."""

    name = "r"
    title = "R"

    token = _TOKEN

    def __init__(self, parser: RParser) -> None:
        self._parser = parser

    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What R's parser says of each cell; nothing where there is no R."""
        return self._parser.complaints([without_own_magic(text).replace("\r\n", "\n") for text in texts])

    def goes_on(self, before: Sequence[Token], following: Token) -> bool:
        """After an operator, and after the head of a loop or a function."""
        return _goes_on(before, following)

    def assigned(self, statement: Sequence[Token]) -> Iterator[Assigned]:
        """A plain assignment."""
        return _assigned(statement)

    def parameter(self, name: str, type_: str, value: Sequence[Token], code: str, help_: str) -> ParameterInfo:
        """Its type is that of its value."""
        return _parameter(name, value, code, help_)

    def loose(self, tokens: Tokens) -> set[str]:
        """But for those behind ``$``, ``@`` and ``::``."""
        return _loose(tokens)

    def is_opaque(self, code: str, used: Collection[str]) -> bool:
        """``eval`` and its like read what they want."""
        return not _DYNAMIC.isdisjoint(used)


def _goes_on(before: Sequence[Token], following: Token) -> bool:
    """Whether R reads on over a line end: after an operator, and after the head of a loop or a function."""
    last = before[-1]
    if last.kind in ("op", "special") or last.text in _OPEN_ENDED:
        return True
    if last.text != ")":
        return False
    depth = 0
    for index in range(len(before) - 1, -1, -1):
        token = before[index]
        depth += (token.kind == "close") - (token.kind == "open")
        if depth == 0:
            return index > 0 and before[index - 1].text in _HEADS
    return False


def _assigned(statement: Sequence[Token]) -> Iterator[Assigned]:
    """The name that a plain assignment sets, and the tokens of its value. ``a <- b <- 1`` sets two."""
    while len(statement) > 2 and statement[1].kind == "op" and statement[1].text in _SETS:
        name = _name(statement[0])
        if not name:
            return
        rest = statement[2:]
        chained = rest
        while len(chained) > 2 and chained[1].text in _SETS:
            chained = chained[2:]
        yield name, (), chained
        statement = rest
    if len(statement) > 2 and statement[-2].text in ("->", "->>") and (name := _name(statement[-1])):
        yield name, (), statement[:-2]


def _name(token: Token) -> str:
    if token.kind == "name":
        return token.text
    return token.text.strip("`'\"") if token.kind in ("quoted", "string") else ""


def _loose(tokens: Tokens) -> set[str]:
    """Names that are no words of the language, no functions that are called, and no parts of something."""
    found = set()
    row = [token for token in tokens.all if token.kind != "newline"]
    for index, token in enumerate(row):
        before = row[index - 1].text if index else ""
        after = row[index + 1].text if index + 1 < len(row) else ""
        if token.kind == "name" and before not in ("$", "@", "::", ":::") and after not in ("(", "::", ":::"):
            found.add(token.text)
    return found - _KEYWORDS


# Parameters


def _parameter(name: str, value: Sequence[Token], code: str, help_: str) -> ParameterInfo:
    expression = shorten(source(code, value))
    try:
        default = _value(value, 0)
    except NotLiteral:
        return ParameterInfo(name, expression=expression, help=help_)
    return ParameterInfo(name, _type_of(value, default), False, default, True, expression, help_)


def _type_of(value: Sequence[Token], default: Any) -> str:
    """As ``class()`` would say; empty for NULL."""
    if isinstance(default, bool):
        return "logical"
    if isinstance(default, str):
        return "character"
    if isinstance(default, int) and value[-1].text.endswith("L"):
        return "integer"
    if isinstance(default, (int, float)) or (isinstance(default, dict) and default.get("$type") == "float"):
        return "numeric"
    if isinstance(default, dict) and default.get("$type") == "date":
        return "Date"
    if value[0].text == "c" and isinstance(default, list) and default:
        return _type_of(value[2:-1][-1:], default[-1])
    return "list" if isinstance(default, (list, dict)) else ""


def _value(tokens: Sequence[Token], depth: int) -> Any:
    """The value of a literal as a parameter's JSON."""
    if not tokens or depth > MAX_DEPTH:
        raise NotLiteral
    if len(tokens) == 1:
        return _scalar(tokens[0])
    if len(tokens) == 2 and tokens[0].text in ("-", "+"):
        inner = _scalar(tokens[1])
        if tokens[1].text == "Inf":
            return {"$type": "float", "value": "-Infinity" if tokens[0].text == "-" else "Infinity"}
        if tokens[1].kind != "number":
            raise NotLiteral
        return -inner if tokens[0].text == "-" else inner
    found = call(tokens)
    if found is None:
        raise NotLiteral
    name, inside = found
    if name == "as.Date" and len(inside) == 1 and inside[0].kind == "string":
        return {"$type": "date", "value": _scalar(inside[0])}
    if name not in ("c", "list"):
        raise NotLiteral
    return _collection([list(part) for part in split(inside)], depth)


def _collection(parts: list[list[Token]], depth: int) -> Any:
    named = [len(part) > 2 and part[1].text == "=" for part in parts]
    if not any(named):
        return [_value(part, depth + 1) for part in parts]
    if not all(named):
        raise NotLiteral
    entries = {_name(part[0]): _value(part[2:], depth + 1) for part in parts}
    return {"$type": "map", "value": entries} if "$type" in entries else entries


def _scalar(token: Token) -> Any:
    text = token.text
    if token.kind == "name" and text in _CONSTANTS:
        return _CONSTANTS[text]
    if token.kind == "string" and text[0] in "rR":
        return text[3:-2]
    if token.kind == "string" and len(text) > 1 and text[-1] == text[0]:
        return unescape(text[1:-1])
    if token.kind != "number" or text.endswith("i"):
        raise NotLiteral
    digits = text.removesuffix("L")
    if digits[:2].lower() == "0x":
        whole = int(digits, 16)
        if whole.bit_length() > MAX_INTEGER_BITS:
            raise NotLiteral
        return whole
    number = float(digits)
    exact = number.is_integer() and number < 2**53
    return int(number) if exact and ("." not in digits or text.endswith("L")) else _finite(number)


def _finite(number: float) -> Any:
    return number if number < float("inf") else {"$type": "float", "value": "Infinity"}
