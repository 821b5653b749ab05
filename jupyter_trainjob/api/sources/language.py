"""What the server knows of a language: where a text is none of it, what parameters it declares, what names it uses."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .findings import Complaint, ParameterInfo

MAX_CODE_CHARACTERS = 256 * 1024
"""Of a text whose parameters and names are looked at."""

_OWN_MAGIC = re.compile(r"\s*%%trainjob\b[^\n]*(\n|\Z)")
_MARKER = re.compile(r"%%|parameters\W*\Z|type:", re.IGNORECASE)
"""Comments that are for programs."""


@dataclass(frozen=True)
class Uses:
    """The names that a text uses."""

    names: frozenset[str]
    loose: Sequence[str]
    """Those of them that could be parameters, sorted: what to propose."""
    overwritten: Mapping[str, tuple[int, str]]
    """Of the names asked for: those that a line sets before any line reads them. Name → line and its text."""


class Language(ABC):
    """All methods are called in threads; what they can't tell, they accept: the job itself will tell."""

    name: str
    title: str

    @abstractmethod
    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What is wrong with each of several cells; None where nothing is, or where it can't be told in time."""

    @abstractmethod
    def declared(self, code: str) -> list[ParameterInfo] | None:
        """The parameters that a cell sets, in order; None where it can't be told."""

    @abstractmethod
    def uses(self, code: str, wanted: Collection[str]) -> Uses | None:
        """The names that a cell uses; None where it may use any (it evaluates text, say)."""

    def close(self) -> None:  # noqa: B027 - most have nothing that runs
        """End what runs for it."""


def without_own_magic(code: str) -> str:
    """Inside a job ``%%trainjob`` runs its cell in place. Lines keep their numbers."""
    own = _OWN_MAGIC.match(code)
    return "\n" * own.group().count("\n") + code[own.end() :] if own else code


class Comments:
    """The comments of a text, by line: ``beside`` code, or ``alone`` on their lines."""

    def __init__(self) -> None:
        self.beside: dict[int, str] = {}
        self.alone: dict[int, str] = {}

    def help(self, first: int, last: int) -> str:
        """What they say of the statement on these lines: beside its end, else right above its beginning."""
        if last in self.beside:
            return self.beside[last]
        above: list[str] = []
        line = first - 1
        while line in self.alone:
            above.insert(0, self.alone[line])
            line -= 1
        return " ".join(text for text in above if text and not _MARKER.match(text))
