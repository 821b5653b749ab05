"""The notebook as a document: read it, put parameters in, keep it small, save it."""

from __future__ import annotations

import codecs
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from .languages import Language, ParameterError, find

_nbformat: Any = nbformat  # it has no types
from_dict: Callable[[dict[str, Any]], NotebookNode] = _nbformat.from_dict
_new_output: Callable[..., NotebookNode] = _nbformat.v4.new_output

STREAM_BYTES = 1024 * 1024
"""How much stream text a cell keeps in the saved notebook: half of it from the beginning, half from the end."""
RICH_BYTES = 32 * 1024 * 1024
"""How much the other outputs of a cell may come to in the saved notebook."""
MAX_FIRST_LINE = 1024 * 1024
_INJECTED = "injected-parameters"


class NotebookError(Exception):
    """The notebook can't be run. The text says why, for its author."""


def load(path: Path) -> NotebookNode:
    """Read a notebook of any format up to 4. Raises :class:`NotebookError`."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotebookError(f"There is no notebook {path.name!r}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise NotebookError(f"{path.name!r} can't be read as a notebook: {error}.") from error
    major = data.get("nbformat") if isinstance(data, dict) else None
    if not isinstance(major, int):
        raise NotebookError(f"{path.name!r} is no notebook: it has no number in 'nbformat'.")
    if major > 4:
        raise NotebookError(
            f"{path.name!r} has notebook format {major}, this job's Jupyter knows formats up to 4. Save it in format "
            "4, or run it in an environment with a newer nbformat."
        )
    try:
        notebook = from_dict(data) if major == 4 else _nbformat.convert(from_dict(data), 4)
        notebook.nbformat_minor = max(5, int(notebook.get("nbformat_minor", 0)))
        for cell in notebook.cells:
            _complete(cell)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise NotebookError(f"{path.name!r} is a damaged notebook: {type(error).__name__}: {error}.") from error
    notebook.setdefault("metadata", from_dict({}))
    return notebook


def empty() -> NotebookNode:
    """A notebook without a cell."""
    return from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []})


def _complete(cell: NotebookNode) -> None:
    if isinstance(cell.source, list):
        cell.source = "".join(cell.source)
    cell.setdefault("metadata", from_dict({}))
    if not cell.get("id"):
        cell["id"] = uuid.uuid4().hex[:8]
    if cell.cell_type == "code":
        cell["outputs"] = []
        cell["execution_count"] = None


def inject(notebook: NotebookNode, parameters: dict[str, Any], language: Language | None = None) -> None:
    """Put a cell with the parameters behind the one tagged ``parameters``, else before the first code cell.

    Raises :class:`NotebookError` for a name that is no variable and a value that the language can't hold.
    """
    if not parameters:
        return
    cells = notebook.cells
    cells[:] = [one for one in cells if _INJECTED not in tags(one)]
    tagged = [index for index, one in enumerate(cells) if "parameters" in tags(one)]
    try:
        source = (language or find("python")).parameters(parameters, cells[tagged[0]].source if tagged else "")
    except ParameterError as error:
        raise NotebookError(str(error)) from error
    cell = _nbformat.v4.new_code_cell(source, metadata={"tags": [_INJECTED]})
    code = [index for index, one in enumerate(cells) if one.cell_type == "code"]
    cells.insert(tagged[0] + 1 if tagged else code[0] if code else len(cells), cell)


def tags(cell: NotebookNode) -> list[str]:
    """A cell's tags."""
    found = cell.metadata.get("tags", [])
    return found if isinstance(found, list) else []


def injected_above(notebook: NotebookNode, index: int) -> int:
    """How many of the cells above cell ``index`` are ours."""
    return sum(_INJECTED in tags(cell) for cell in notebook.cells[:index])


def lines_above(cell: NotebookNode) -> int:
    """How many lines its author sees above the cell's code: one, the ``%%trainjob`` that sent it, or none."""
    told = cell.metadata.get("trainjob")
    first = told.get("firstLine") if isinstance(told, dict) else None
    return first - 1 if isinstance(first, int) and 1 <= first <= MAX_FIRST_LINE else 0


def file_name(cell: NotebookNode) -> str:
    """The file that the cell is all of; empty where it is a cell of a notebook."""
    told = cell.metadata.get("trainjob")
    name = told.get("file") if isinstance(told, dict) else None
    return name if isinstance(name, str) else ""


def runnable(cell: NotebookNode) -> bool:
    """Whether the cell has code to run."""
    return bool(cell.cell_type == "code" and cell.source.strip())


class CellOutputs:
    """Adds a cell's stream text to its outputs, and keeps both small. The log has all of it."""

    def __init__(self, cell: NotebookNode) -> None:
        self.cell = cell
        self.clear()
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}

    def clear(self) -> None:
        """Take all outputs away, as the code has asked for: what comes next has all the room again."""
        self.cell.outputs[:] = []
        self._kept = self._left = self._rich = 0
        self._tail: list[tuple[str, str]] = []
        self._tail_size = 0
        self._sizes: dict[str, int] = {}  # of displays that may be replaced, by their id

    def stream(self, name: str, data: bytes) -> tuple[str, str] | None:
        """Bytes as text to add to the outputs; None where it went into the tail."""
        text = self._decoders[name].decode(data)
        room = STREAM_BYTES // 2 - self._kept
        head, rest = text[: max(0, room)], text[max(0, room) :]
        self._kept += len(head)
        if rest:
            self._push(name, rest)
        return (name, head) if head else None

    def rich(self, size: int, display_id: str = "", *, replaces: bool = False) -> bool:
        """Whether an output of about ``size`` bytes may still be kept; one that ``replaces`` another has its room."""
        if replaces:
            self._rich -= self._sizes.pop(display_id, 0)
        if self._rich + size > RICH_BYTES:
            return False
        self._rich += size
        if display_id:
            self._sizes[display_id] = self._sizes.get(display_id, 0) + size
        return True

    def finish(self) -> None:
        """Bring the tail in, behind a line that says what was left out."""
        if not self._tail:
            return
        if self._left:
            text = f"\n[… {self._left:,} characters are left out here; the job's log has them all …]\n"
            self.cell.outputs.append(_new_output("stream", name="stderr", text=text))
        for name, text in self._tail:
            add_stream(self.cell.outputs, name, text)
        self._tail = []

    def _push(self, name: str, text: str) -> None:
        if len(text) > STREAM_BYTES // 2:
            self._left += len(text) - STREAM_BYTES // 2
            text = text[-STREAM_BYTES // 2 :]
        self._tail.append((name, text))
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0][1]) >= STREAM_BYTES // 2:
            gone = len(self._tail.pop(0)[1])
            self._tail_size -= gone
            self._left += gone
        if len(self._tail) > 1000:
            self._tail = _joined(self._tail)


def _joined(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    outputs: list[Any] = []
    for name, text in parts:
        if outputs and outputs[-1][0] == name:
            outputs[-1][1].append(text)
        else:
            outputs.append((name, [text]))
    return [(name, "".join(texts)) for name, texts in outputs]


def error_output(error: dict[str, Any]) -> NotebookNode:
    """An error (``ename``, ``evalue``, ``traceback``) as an output."""
    told = {key: error[key] for key in ("ename", "evalue", "traceback")}
    return _new_output("error", **told)


def add_stream(outputs: list[NotebookNode], name: str, text: str) -> None:
    """Add stream text, to the last output if that is the same stream."""
    if outputs and outputs[-1].output_type == "stream" and outputs[-1].name == name:
        outputs[-1].text += text
    else:
        outputs.append(_new_output("stream", name=name, text=text))


def save(notebook: NotebookNode, path: Path) -> None:
    """Replace the file at once. Raises ``OSError``."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(_nbformat.v4.writes(notebook) + "\n", encoding="utf-8", errors="backslashreplace")
    partial.replace(path)
