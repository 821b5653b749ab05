"""Parameters that are sent, against those that the code takes. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...resources.errors import FieldError
from .findings import ParameterInfo
from .language import Uses
from .types import fits, misfit, read_type, word


def used_errors(uses: Uses, parameters: Collection[str], what: str, first_line: int = 1) -> list[FieldError]:
    """Parameters that ``what`` (the cell, the script) doesn't use, or that it would overwrite before it uses them."""
    errors = []
    for name in parameters:
        if name not in uses.names:
            errors.append(_undeclared(name, f"{what} uses no such name", uses.loose, "It uses"))
        elif name in uses.overwritten:
            line, text = uses.overwritten[name]
            errors.append(
                FieldError(
                    f"spec.parameters.{name}",
                    f"line {line + first_line - 1} of {what}, {text}, would overwrite the parameter",
                    None,
                    f"Take that line out: parameters are set before {what} runs.",
                )
            )
    return errors


def untagged_error(path: str, parameters: Collection[str]) -> FieldError:
    """A notebook that takes no parameters."""
    return FieldError(
        "spec.parameters",
        f"the notebook {path!r} has no cell tagged 'parameters', so it takes none",
        ", ".join(parameters),
        "Tag the cell that sets their defaults with 'parameters' (property inspector, Cell Tags).",
    )


def declared_errors(declared: Sequence[ParameterInfo], parameters: Mapping[str, Any], number: int) -> list[FieldError]:
    """Parameters that cell ``number`` doesn't set, or whose value is not of the type that it declares."""
    known = {info.name: info for info in declared}
    errors = []
    for name, value in parameters.items():
        if name not in known:
            problem = f"cell {number}, tagged 'parameters', does not set it"
            errors.append(_undeclared(name, problem, sorted(known), "It sets"))
        elif problem := _misfit(known[name], value):
            shown = known[name].expression
            remedy = f"The default is {shown}." if shown else f"Send a value of the type {known[name].type}."
            errors.append(FieldError(f"spec.parameters.{name}", problem, _short(value), remedy))
    return errors


def _misfit(info: ParameterInfo, value: Any) -> str:
    """What is wrong with the value; empty where it fits, or where the code declares nothing."""
    if not info.declared or (value is None and info.known and info.default is None):
        return ""
    type_ = read_type(info.type)
    if fits(value, type_):
        return ""
    part = misfit(value, type_)
    got = f"a value that holds {word(part)}" if part is not value else word(part)
    return f"{info.name} is declared {info.type}, got {got}"


def _short(value: Any) -> Any:
    return value[:80] if isinstance(value, str) else value if isinstance(value, (bool, int, float)) else None


def _undeclared(name: str, problem: str, declared: Sequence[str], those: str) -> FieldError:
    near = difflib.get_close_matches(name, declared[:500], n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    remedy += f"{those}: {', '.join(declared[:20])}." if declared else f"{those} none."
    return FieldError(f"spec.parameters.{name}", problem, name, remedy)
