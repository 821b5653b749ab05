"""The process that reads notebooks and Python: what Python's own parsers do they do without letting another thread run,
and take memory as the text has it. It evaluates nothing.

A request is ``<bytes of head> <bytes of body>\\n``, a head in JSON and a body; an answer is one or several of the same,
the last of which says ``"last"``. What has been answered counts, should the process not live to say the rest.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from . import looking
from . import notebook as notebooks
from .findings import Findings, code_hash
from .python import Python

MAX_FOREIGN_CHARACTERS = 1024 * 1024
"""Of a notebook's code in R or Scala, which the server has to hold to ask their parsers."""
MAX_FOREIGN_CELLS = 2000
Answer = tuple[Mapping[str, Any], bytes]


def main() -> None:
    """Answer until nobody asks any more."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    send(sink, {"ready": True})
    while (request := receive(source)) is not None:
        head, body = request
        _limit_time(float(head["seconds"]))
        for answer, data in WORK[head["do"]](head, body):
            send(sink, answer, data)
        send(sink, {"last": True, "residentBytes": _resident_bytes()})


def send(sink: IO[bytes], head: Mapping[str, Any], body: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(head).encode()
    sink.write(b"%d %d\n%s" % (len(text), len(body), text))
    sink.write(body)
    sink.flush()


def receive(source: IO[bytes], most: int | None = None) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; None at the end, in the midst of one too, and where it is longer than ``most`` bytes."""
    lengths = source.readline(64).split()
    if len(lengths) != 2:
        return None
    head, body = int(lengths[0]), int(lengths[1])
    if most is not None and head + body > most:
        return None
    text, data = source.read(head), source.read(body)
    return (json.loads(text), data) if len(text) == head and len(data) == body else None


def _limit_time(seconds: float) -> None:
    """CPU time for this request, beside the clock that the server keeps."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, hard))


def _resident_bytes() -> int:
    """What it keeps of memory; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _text(head: Mapping[str, Any], body: bytes) -> Iterator[Answer]:
    """A cell or a script in Python."""
    code = body.decode("utf-8", "surrogatepass")
    yield {"findings": looking.look_at_text(Python(), code, *head["about"]).packed()}, b""


def _hash(head: Mapping[str, Any], body: bytes) -> Iterator[Answer]:
    yield {"findings": Findings(code_hash=code_hash([body.decode("utf-8", "surrogatepass")])).packed()}, b""


def _notebook(head: Mapping[str, Any], body: bytes) -> Iterator[Answer]:
    """What it is, then what is wrong with its code; of one in another language the code itself."""
    path, where = head["path"], head["where"]
    read = Findings()
    found = notebooks.load(body, path, where, read.errors)
    if found is None:
        yield {"findings": read.packed()}, b""
        return
    read.language, read.kernel = notebooks.languages(found)
    cells = looking.code_cells(found)
    del found
    if not any(cell.code.strip() for cell in cells):
        read.errors.append(notebooks.empty_error(path, where))
    spoken = (head["language"] or read.language or "python").lower()
    yield {"findings": read.packed(), "spoken": spoken}, b""
    yield {"codeHash": looking.hash_of_cells(cells)}, b""
    if read.errors:
        return
    if spoken == Python.name:
        looked = looking.look_at_cells(Python(), cells, path, where, head["parameters"])
        yield {"findings": looked.packed()}, b""
    elif len(cells) <= MAX_FOREIGN_CELLS and sum(len(cell.code) for cell in cells) <= MAX_FOREIGN_CHARACTERS:
        texts = [cell.code.encode("utf-8", "surrogatepass") for cell in cells]
        told = [[cell.number, len(text), cell.tagged, cell.may_fail] for cell, text in zip(cells, texts, strict=True)]
        yield {"cells": told}, b"".join(texts)


WORK: Mapping[str, Callable[[Mapping[str, Any], bytes], Iterator[Answer]]] = {
    "text": _text,
    "hash": _hash,
    "notebook": _notebook,
}
