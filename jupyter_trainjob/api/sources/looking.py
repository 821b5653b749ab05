"""What a look at code finds, in whatever process: pure but for the parsers that a language asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import notebook as notebooks
from .findings import Findings, code_hash
from .language import Language
from .parameters import declared_errors, untagged_error, used_errors

MAX_ERRORS = 50
"""Of the cells that are no code, those that are told."""
MAX_PARAMETERS = 1000
"""Of those that a cell declares, those that are told; all may be sent."""


class Cell(NamedTuple):
    """A code cell of a notebook."""

    number: int
    """Among all cells, from 1."""
    code: str
    tagged: bool
    """As the one that declares parameters."""
    may_fail: bool


def code_cells(notebook: Mapping[str, Any]) -> list[Cell]:
    """The code cells of a notebook."""
    return [
        Cell(
            number,
            notebooks.source(cell),
            "parameters" in notebooks.tags(cell),
            "raises-exception" in notebooks.tags(cell),
        )
        for number, cell in notebooks.code_cells(notebook)
    ]


def look_at_text(
    language: Language, code: str, what: str, where: str, parameters: Mapping[str, Any], first_line: int = 1
) -> Findings:
    """Findings about ``what`` (the cell, the script), whose line ``first_line`` is where ``code`` begins; its hash is
    not among them."""
    findings = Findings()
    complaint = language.complaints([code])[0]
    if complaint is not None:
        findings.errors.append(complaint.error(where, first_line=first_line))
    elif parameters:
        uses = language.uses(code, parameters.keys())
        if uses is not None:
            findings.errors += used_errors(uses, parameters, what, first_line)
    return findings


def look_at_cells(
    language: Language, cells: Sequence[Cell], path: str, where: str, parameters: Mapping[str, Any]
) -> Findings:
    """Findings about a notebook's cells; their hash is not among them."""
    findings = Findings()
    checked = [cell for cell in cells if not cell.may_fail]
    complaints = language.complaints([cell.code for cell in checked])
    for cell, complaint in zip(checked, complaints, strict=True):
        if complaint is not None and len(findings.errors) < MAX_ERRORS:
            findings.errors.append(complaint.error(where, f"cell {cell.number}, "))
    tagged = next((cell for cell in cells if cell.tagged), None)
    if tagged is None:
        if parameters and not findings.errors:
            findings.errors.append(untagged_error(path, parameters))
        return findings
    declared = language.declared(tagged.code)
    findings.parameters = (declared or [])[:MAX_PARAMETERS]
    if declared is not None and not findings.errors:
        findings.errors += declared_errors(declared, parameters, tagged.number)
    return findings


def hash_of_cells(cells: Sequence[Cell]) -> str:
    """SHA-256 of a notebook's code alone."""
    return code_hash([cell.code for cell in cells])
