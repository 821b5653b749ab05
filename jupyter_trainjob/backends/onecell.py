"""A notebook of one cell: what a cell or a script runs as. Standard library only: pods import it."""

from __future__ import annotations

from typing import Any


def one_cell(code: str, cell_id: str, first_line: int = 1) -> dict[str, Any]:
    """A notebook (nbformat 4.5) of one cell of code, which its author sees from line ``first_line`` of theirs."""
    return _notebook(code, cell_id, {"firstLine": first_line} if first_line > 1 else {})


def script(data: bytes, path: str) -> dict[str, Any]:
    """The same of a script, whose file is called ``path``: there is no cell to name. A byte order mark is left out."""
    return _notebook(data.decode("utf-8-sig", "replace"), "script", {"file": path} if path else {})


def _notebook(code: str, cell_id: str, told: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": cell_id,
        "metadata": {"trainjob": told} if told else {},
        "source": code,
        "outputs": [],
        "execution_count": None,
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
