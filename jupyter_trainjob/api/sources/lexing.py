"""Tokens of R and Scala: enough to tell statements, names, comments and literals apart. Whether a text is code at all
is their own parsers' to say.

The regular expressions of the languages match at every place and never look back, so that the time is linear in the
text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .language import Comments

MAX_DEPTH = 32
"""Of a literal that is told."""
MAX_INTEGER_BITS = 14000
"""Of an integer that is told: JSON has it in decimal digits, of which Python writes 4300 at most."""

_WORD = re.compile(r"[^\W\d][\w.]*")


def keywords(text: str) -> frozenset[str]:
    """The words of ``text``."""
    return frozenset(text.split())


class NotLiteral(Exception):
    """The expression's value can't be told by reading it."""


class Token(NamedTuple):
    """A piece of text. ``kind`` is the name of the group that matched: name, quoted, string, number, op, open, …"""

    kind: str
    text: str
    start: int
    line: int

    @property
    def last_line(self) -> int:
        """Where it ends."""
        return self.line + self.text.count("\n")


class Tokens:
    """A text's tokens, without blanks and comments, cut into top-level statements."""

    def __init__(self, code: str, pattern: re.Pattern[str]) -> None:
        self.comments = Comments()
        self.all: list[Token] = []
        """Names, literals, operators, and ``newline``."""
        line, bare = 1, True  # bare: nothing but blanks and comments so far in this line
        for match in pattern.finditer(code):
            kind, text = str(match.lastgroup), match.group()
            if kind == "comment":
                self._comment(text, line, alone=bare)
            elif kind != "space":
                self.all.append(Token(kind, text, match.start(), line))
                bare = kind == "newline"
            line += text.count("\n")

    def _comment(self, text: str, line: int, *, alone: bool) -> None:
        words = " ".join(part.strip(" \t*") for part in text.strip("#/*! \t\n").splitlines())
        (self.comments.alone if alone else self.comments.beside)[line + text.count("\n")] = words.strip()

    def statements(self, goes_on: Callable[[Sequence[Token], Token], bool]) -> Iterator[list[Token]]:
        """Top-level statements. ``goes_on(before, next)`` tells whether a line end between them is none."""
        statement: list[Token] = []
        depth, broken = 0, False
        for token in self.all:
            if token.kind == "newline":
                broken = True
                continue
            ends = token.text == ";" and token.kind == "op"
            if statement and depth == 0 and (ends or (broken and not goes_on(statement, token))):
                yield statement
                statement = []
            broken = False
            if ends and depth == 0:
                continue
            depth = max(0, depth + (token.kind == "open") - (token.kind == "close"))
            statement.append(token)
        if statement:
            yield statement


def words(token: Token) -> list[str]:
    """The names that a token may stand for: its own, or those that a string may be put together from."""
    if token.kind == "name":
        return [token.text]
    if token.kind == "quoted":
        return [token.text.strip("`")]
    return _WORD.findall(token.text) if token.kind == "string" else []


def source(code: str, tokens: Sequence[Token]) -> str:
    """The text from the first token to the last."""
    return code[tokens[0].start : tokens[-1].start + len(tokens[-1].text)] if tokens else ""


def split(tokens: Sequence[Token], separator: str = ",") -> list[Sequence[Token]]:
    """The tokens between separators that lie in no brackets."""
    parts: list[Sequence[Token]] = []
    depth = begin = 0
    for index, token in enumerate(tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth == 0 and token.text == separator and token.kind == "op":
            parts.append(tokens[begin:index])
            begin = index + 1
    parts.append(tokens[begin:])
    return parts if any(parts) else []


def call(tokens: Sequence[Token]) -> tuple[str, Sequence[Token]] | None:
    """``f(…)``: the name, which may have dots and brackets of types, and what is between the brackets."""
    depth = 0
    for index, token in enumerate(tokens):
        if token.kind == "open" and token.text == "(" and depth == 0:
            whole = tokens[-1].text == ")" and _closes(tokens[index:])
            name = "".join(part.text for part in tokens[:index]).partition("[")[0]
            return (name, tokens[index + 1 : -1]) if name and whole else None
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind not in ("name", "open", "close") and token.text not in (".", "::", ","):
            return None
    return None


def _closes(tokens: Sequence[Token]) -> bool:
    """Whether the last token closes the first."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth == 0:
            return index == len(tokens) - 1
    return False


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{1,2})|[uU]\{(?P<braced>[0-9a-fA-F]{1,8})\}|u(?P<u>[0-9a-fA-F]{1,4})"
    r"|U(?P<U>[0-9a-fA-F]{1,8})|(?P<one>.))",
    re.DOTALL,
)


def unescape(text: str) -> str:
    """What a string's text with backslashes means."""

    def one(match: re.Match[str]) -> str:
        digits = match["x"] or match["braced"] or match["u"] or match["U"]
        if not digits:
            return _ESCAPES.get(match["one"], match["one"])
        number = int(digits, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise NotLiteral
        return chr(number)

    return _ESCAPE.sub(one, text)
