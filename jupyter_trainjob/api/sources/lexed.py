"""What R and Scala have in common where their cells are read here, by their tokens."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence

from .findings import ParameterInfo, shorten
from .language import MAX_CODE_CHARACTERS, Language, Uses, without_own_magic
from .lexing import Token, Tokens, source, words

Assigned = tuple[str, Sequence[Token], Sequence[Token]]
"""A name, and the tokens of its type (none where none is written) and of its value."""


class Lexed(Language):
    """A language whose assignments and names are found among tokens."""

    token: re.Pattern[str]
    """Matches at every place; its groups are the kinds of tokens."""

    def declared(self, code: str) -> list[ParameterInfo] | None:
        """What assignments at the top of the cell set."""
        if len(code) > MAX_CODE_CHARACTERS:
            return None
        code = without_own_magic(code)
        tokens = Tokens(code, self.token)
        found: dict[str, ParameterInfo] = {}
        for statement in tokens.statements(self.goes_on):
            help_ = tokens.comments.help(statement[0].line, statement[-1].last_line)
            for name, type_, value in self.assigned(statement):
                if name not in found:
                    found[name] = self.parameter(name, source(code, type_), value, code, help_)
        return list(found.values())

    def uses(self, code: str, wanted: Collection[str]) -> Uses | None:
        """The names it uses, those in strings too: interpolated ones are read there."""
        if len(code) > MAX_CODE_CHARACTERS:
            return None
        code = without_own_magic(code)
        tokens = Tokens(code, self.token)
        used = {name for token in tokens.all for name in self.names(token)}
        if self.is_opaque(code, used):
            return None
        overwritten = dict(self._overwritten(code, tokens, set(wanted) & used))
        return Uses(frozenset(used), sorted(self.loose(tokens)), overwritten)

    @abstractmethod
    def goes_on(self, before: Sequence[Token], following: Token) -> bool:
        """Whether a statement goes on over a line end."""

    @abstractmethod
    def assigned(self, statement: Sequence[Token]) -> Iterator[Assigned]:
        """What a statement sets."""

    @abstractmethod
    def parameter(self, name: str, type_: str, value: Sequence[Token], code: str, help_: str) -> ParameterInfo:
        """What an assignment declares."""

    @abstractmethod
    def loose(self, tokens: Tokens) -> set[str]:
        """Names that are no words of the language, no functions that are called, and no parts of something."""

    def names(self, token: Token) -> list[str]:
        """Those that a token may stand for."""
        return words(token)

    def is_opaque(self, code: str, used: Collection[str]) -> bool:
        """Whether the code may use names that can't be seen in it."""
        return False

    def _overwritten(self, code: str, tokens: Tokens, wanted: set[str]) -> Iterator[tuple[str, tuple[int, str]]]:
        for statement in tokens.statements(self.goes_on):
            if not wanted:
                return
            here = wanted & {name for token in statement for name in self.names(token)}
            wanted -= here
            for name, _, value in self.assigned(statement) if here else ():
                if name in here and not any(name in words(token) for token in value):
                    yield name, (statement[0].line, shorten(source(code, statement))[:80])
