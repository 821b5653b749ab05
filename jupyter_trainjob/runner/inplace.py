"""``%%trainjob`` inside a job: the cell runs in place, and says so. Its source is sent into the Python kernel.

There is no server to ask in here, and none of our code but the runner. The first line of such a cell is replaced by a
line magic before IPython reads it, so that the rest runs exactly as any other cell: last expression, ``await``,
tracebacks with the right line numbers. Standard library and IPython only.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from typing import Any

_CELL = re.compile(r"%%trainjob(?=\s|$)")
_NOTE = "[%%trainjob inside a job: the cell runs here, in place]"


def install(shell: Any) -> None:
    """Register the replacement and the line magics; once, before the user's code."""

    def in_place(line: str) -> None:
        shell.push(parameters(line), interactive=False)
        sys.stdout.write(_NOTE + "\n")

    shell.register_magic_function(_line, "line", "trainjob")
    shell.register_magic_function(in_place, "line", "_trainjob_in_place")
    shell.input_transformers_cleanup.append(_replace)


def _replace(lines: list[str]) -> list[str]:
    if lines and _CELL.match(lines[0]):
        return [_CELL.sub("%_trainjob_in_place", lines[0], count=1), *lines[1:]]
    return lines


def _line(line: str) -> None:
    """Not available inside a job."""
    from IPython.core.error import UsageError

    raise UsageError("%trainjob is not available inside a job: a job can't see or start other jobs.")


def parameters(line: str) -> dict[str, Any]:
    """The values of ``--param name=value``, read as the client reads them: JSON, else a literal, else text."""
    words, found = shlex.split(line), {}
    for index, word in enumerate(words):
        text = word[8:] if word.startswith("--param=") else words[index + 1] if word == "--param" else ""
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text
