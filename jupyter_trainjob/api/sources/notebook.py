"""Notebook files: are they any, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from ...resources.errors import FieldError

NEWEST_NBFORMAT = 4


def load(data: bytes, path: str, field: str, errors: list[FieldError]) -> dict[str, Any] | None:
    """The notebook in format 4, valid; None with the reason, about ``field``, in ``errors``."""
    import nbformat
    from nbformat.validator import iter_validate

    def refuse(message: str, remedy: str) -> None:
        errors.append(FieldError(field, message, None, remedy))

    try:
        notebook = json.loads(data)
    except (ValueError, RecursionError):
        refuse(f"{path!r} is no notebook: it is not JSON", "Send the .ipynb file itself.")
        return None
    if not isinstance(notebook, dict) or not _is_number(notebook.get("nbformat")):
        refuse(f"{path!r} is no notebook: it names no nbformat", "Send the .ipynb file itself.")
        return None
    major, minor = notebook["nbformat"], notebook.get("nbformat_minor", 0)
    if not _is_number(minor):
        refuse(
            f"{path!r} is no valid notebook: its nbformat_minor is no number",
            "Open it in JupyterLab and save it again.",
        )
        return None
    if major > NEWEST_NBFORMAT:
        refuse(
            f"{path!r} is of notebook format {major}.{minor}; this server reads up to "
            f"{NEWEST_NBFORMAT}.{nbformat.current_nbformat_minor}",
            "Save it in format 4 with the program that wrote it, or ask the operator to update nbformat.",
        )
        return None
    if major < NEWEST_NBFORMAT:
        refuse(
            f"{path!r} is of the old notebook format {major}.{minor}",
            f"Bring it to format 4: jupyter nbconvert --to notebook --nbformat 4 {path}",
        )
        return None
    for cell in notebook["cells"] if isinstance(notebook.get("cells"), list) else ():
        if isinstance(cell, dict) and minor >= 5:
            cell.setdefault("id", "none")  # older writers forget it; runners give one
    try:
        problem = next(
            iter_validate(notebook, version=major, version_minor=minor, relax_add_props=True),  # type: ignore[no-untyped-call]
            None,
        )
    except (TypeError, ValueError, KeyError, AttributeError):  # the validator did not expect it
        message = f"{path!r} is no valid notebook: a value in it is of a kind that no notebook has there"
        refuse(message, "Open it in JupyterLab and save it again.")
        return None
    if problem is not None:
        at = "/".join(str(part) for part in problem.absolute_path)
        refuse(
            f"{path!r} is no valid notebook: {str(problem.message)[:160]}" + (f" (at {at})" if at else ""),
            "Open it in JupyterLab and save it again.",
        )
        return None
    return notebook


def _is_number(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def source(cell: Mapping[str, Any]) -> str:
    """A cell's text."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def tags(cell: Mapping[str, Any]) -> Collection[str]:
    """A cell's tags."""
    found = (cell.get("metadata") or {}).get("tags") or ()
    return found if isinstance(found, list) else ()


def languages(notebook: Mapping[str, Any]) -> tuple[str, str]:
    """The language, in lower case, and the kernelspec that a notebook says it is for; empty where it doesn't."""
    metadata = notebook.get("metadata") or {}
    kernelspec = metadata.get("kernelspec") or {}
    told = (metadata.get("language_info") or {}).get("name") or kernelspec.get("language") or ""
    return str(told).lower(), str(kernelspec.get("name") or "")


def code_cells(notebook: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The code cells with their numbers, which count all cells from 1."""
    return [(number, cell) for number, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "code"]


def empty_error(path: str, where: str) -> FieldError:
    """A notebook with nothing to run."""
    return FieldError(
        where,
        f"the notebook {path!r} has no code cell with code in it",
        None,
        "Check that it is the right file and that it is saved.",
    )
