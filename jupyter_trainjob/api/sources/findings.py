"""What is found out about code before it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...resources.errors import FieldError

MAX_EXPRESSION = 200
"""Characters of a default's text that are told."""


@dataclass(frozen=True)
class Complaint:
    """Where a text is no code, and why. ``line`` counts from 1 in the text; 0 where nobody can tell."""

    message: str
    line: int = 0
    shown: str = ""
    """The line itself."""
    remedy: str = "Correct the line and send it again."

    def error(self, where: str, place: str = "", first_line: int = 1) -> FieldError:
        """For the field ``where``; ``place`` says which cell, as ``"cell 3, "``; the text's first line is told as
        ``first_line``."""
        line = f"line {self.line + first_line - 1}: " if self.line else ""
        shown = self.shown.strip()[:160]
        message = f"{place}{line}{self.message}" + (f": {shown}" if shown else "")
        return FieldError(where, message, shown or None, self.remedy)


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter that a cell declares."""

    name: str
    type: str = ""
    """As the language writes it; empty where nothing tells."""
    declared: bool = False
    """Whether the code names the type; else it is that of the default."""
    default: Any = None
    """The default as a parameter's value in JSON (with ``$type`` where JSON has no such thing)."""
    known: bool = False
    """Whether ``default`` could be told: it is written as a literal."""
    expression: str = ""
    """The default as it is written, shortened."""
    help: str = ""
    """The comment beside it, else the one above it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``default`` is left out where it can't be told."""
        told = {"default": self.default} if self.known else {}
        return {
            "name": self.name,
            "type": self.type,
            "declared": self.declared,
            **told,
            "expression": self.expression,
            "help": self.help,
        }


@dataclass
class Findings:
    """What a source is, and what is wrong with it."""

    errors: list[FieldError] = field(default_factory=list)
    language: str = ""
    """As the source itself tells; empty where it doesn't."""
    kernel: str = ""
    """The kernelspec that a notebook was written with."""
    code_hash: str = ""
    """SHA-256 of the code alone: outputs and metadata don't change it."""
    parameters: list[ParameterInfo] = field(default_factory=list)
    """What the notebook's cell tagged ``parameters`` declares, in its order."""

    def add(self, more: Findings) -> None:
        """Take what another look at the same source found wrong, and its parameters."""
        self.errors += more.errors
        self.parameters += more.parameters

    def packed(self) -> dict[str, Any]:
        """As JSON, for :meth:`unpacked` in another process."""
        return {
            "errors": [[error.field, error.message, error.value, error.remedy] for error in self.errors],
            "parameters": [[getattr(info, part.name) for part in fields(info)] for info in self.parameters],
            "told": [self.language, self.kernel, self.code_hash],
        }

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> Findings:
        """From :meth:`packed`."""
        language, kernel, hashed = packed["told"]
        errors = [FieldError(*error) for error in packed["errors"]]
        return cls(errors, language, kernel, hashed, [ParameterInfo(*info) for info in packed["parameters"]])


def code_hash(cells: Collection[str]) -> str:
    """SHA-256 over code cells, whatever their line ends, trailing blanks and outputs."""
    canonical = ["\n".join(line.rstrip() for line in cell.splitlines()).strip("\n") for cell in cells]
    return hashlib.sha256(json.dumps(canonical, ensure_ascii=True).encode()).hexdigest()


def shorten(text: str) -> str:
    """A default's text as it is told."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_EXPRESSION else text[: MAX_EXPRESSION - 1] + "…"
