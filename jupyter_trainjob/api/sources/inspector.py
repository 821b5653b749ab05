"""Looks at a job's code beside the event loop: no look, however long, keeps it, another language's or another's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...resources.errors import FieldError, Unavailable
from ...resources.source import script_language
from . import looking
from .findings import Findings, code_hash
from .language import Language
from .places import WAIT_SECONDS, Busy, Places, Turns
from .python import Python
from .r import R
from .readerprocess import Answer, Reader
from .rparser import RParser
from .scala import Scala
from .scalaparser import ScalaParser

DIGEST = "spec.source.digest"
CODE = "spec.source.code"
MAX_SCRIPT_BYTES = 8 * 1024 * 1024
SCRIPT_REMEDY = "Put data into a file and send it with --files."
MAX_FOREIGN_CHARACTERS = 1024 * 1024
"""Of a text in R or Scala that is looked at."""
SMALL_CHARACTERS = 8 * 1024
SMALL_DEPTH = 20
"""Of Python that is read in the server: measured, the worst such text takes it a few milliseconds."""
HASHED_HERE = 256 * 1024
"""Characters of a text whose hash is made in the server."""
THREADS = 2
"""For each language: one that is slow to start keeps nobody else waiting."""


def installed_kernelspecs() -> Iterable[Mapping[str, Any]]:
    """The kernel.json that Jupyter finds."""
    from jupyter_client.kernelspec import KernelSpecManager

    return [dict(found["spec"]) for found in KernelSpecManager().get_all_specs().values()]


@dataclass(frozen=True)
class Asked:
    """What is asked about a source."""

    language: str = ""
    """The one that the job names; empty where it names none."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those that are sent."""
    where: str = DIGEST
    """The field of the job that errors are told of."""
    person: str = ""
    """Whose look it is."""
    first_line: int = 1
    """Of a cell: what its author counts as the code's first line."""


class Inspector:
    """What can be said of code before it runs.

    ``cache`` is a folder for what is made once of the Scala compiler; without one Scala is not checked. What can't be
    told in a few seconds, or can't be begun in ``wait_seconds``, is accepted: the job itself will tell. Each person
    has one look at a time.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        kernelspecs: Callable[[], Iterable[Mapping[str, Any]]] = installed_kernelspecs,
        environment: Mapping[str, str] = os.environ,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._python = Python()
        foreign: tuple[Language, ...] = (
            R(RParser(kernelspecs)),
            Scala(ScalaParser(kernelspecs, cache, environment=environment)),
        )
        self._foreign = {language.name: language for language in foreign}
        turns = Turns()
        self._reader = Reader()
        self._reading = Places(1, "trainjob-reader", turns, wait_seconds=wait_seconds)
        self._places = {
            name: Places(THREADS, f"trainjob-{name}", turns, wait_seconds=wait_seconds) for name in self._foreign
        }
        self._quick = ThreadPoolExecutor(1, "trainjob-quick")

    async def cell(self, code: str, asked: Asked) -> Findings:
        """Findings about one cell (of no language: Python)."""
        return await self._text(code, asked.language or "python", "the cell", asked)

    async def script(self, data: bytes, path: str, asked: Asked) -> Findings:
        """Findings about a file of code (of no language: that of its suffix)."""
        told = script_language(path)
        error = _unreadable(data, path, asked.where)
        if error is not None:
            return Findings([error], told)
        findings = await self._text(data.decode("utf-8-sig"), asked.language or told, "the script", asked)
        findings.language = told
        return findings

    async def notebook(self, data: bytes, path: str, asked: Asked) -> Findings:
        """Findings about a notebook file (of no language: the one that it tells).

        Raises :class:`Unavailable` where there was no time to read it: unread, nobody knows what language it is in.
        """
        where, parameters = asked.where, dict(asked.parameters)
        head = {"path": path, "where": where, "language": asked.language, "parameters": parameters}
        try:
            answers = await self._reading.run(asked.person, lambda: self._reader.ask("notebook", data, **head))
        except Busy:
            raise Unavailable(
                f"{path!r} can't be read now: the server reads other notebooks.", remedy="Send it again in a moment."
            ) from None
        if not answers:
            return Findings([_too_much(path, where)])
        findings = Findings.unpacked(answers[0][0]["findings"])
        for answer, body in answers[1:]:
            findings.code_hash = answer.get("codeHash", findings.code_hash)
            if "findings" in answer:
                findings.add(Findings.unpacked(answer["findings"]))
            foreign = self._foreign.get(answers[0][0].get("spoken", ""))
            if "cells" in answer and foreign is not None:
                cells = _cells(answer["cells"], body)
                looked = await self._look(foreign, asked.person, looking.look_at_cells, cells, path, where, parameters)
                findings.add(looked)
        return findings

    async def _text(self, code: str, name: str, what: str, asked: Asked) -> Findings:
        """Findings about a cell or a script; none about one in a language that isn't known here."""
        name, person = name.lower(), asked.person
        about = (what, asked.where, dict(asked.parameters), asked.first_line)
        quick = asyncio.get_running_loop().run_in_executor
        if name == Python.name and _small(code):
            findings = await quick(self._quick, looking.look_at_text, self._python, code, *about)
        elif name == Python.name:
            findings = await self._read(person, "text", code, about=about)
        elif name in self._foreign and len(code) <= MAX_FOREIGN_CHARACTERS:
            findings = await self._look(self._foreign[name], person, looking.look_at_text, code, *about)
        else:
            findings = Findings()
        if len(code) <= HASHED_HERE:
            findings.code_hash = await quick(self._quick, code_hash, [code])
        else:
            findings.code_hash = (await self._read(person, "hash", code)).code_hash
        return findings

    async def _read(self, person: str, do: str, code: str, **head: Any) -> Findings:
        """By the process that reads Python; nothing where it doesn't say in time."""

        def ask() -> list[Answer]:
            return self._reader.ask(do, code.encode("utf-8", "surrogatepass"), **head)

        try:
            answers = await self._reading.run(person, ask)
        except Busy:
            return Findings()
        return Findings.unpacked(answers[0][0]["findings"]) if answers else Findings()

    async def _look(self, language: Language, person: str, look: Callable[..., Findings], *arguments: Any) -> Findings:
        try:
            return await self._places[language.name].run(person, look, language, *arguments)
        except Busy:
            return Findings()

    def close(self) -> None:
        """End what runs for the languages."""
        self._reader.close()
        for language in self._foreign.values():
            language.close()
        for places in (self._reading, *self._places.values()):
            places.close()
        self._quick.shutdown(wait=False, cancel_futures=True)


def _small(code: str) -> bool:
    """Whether Python may be read in the server."""
    if len(code) > SMALL_CHARACTERS:
        return False
    depth = 0
    for character in code:
        if character in "([{":
            depth += 1
            if depth > SMALL_DEPTH:
                return False
        elif character in ")]}":
            depth = max(0, depth - 1)
    return True


def _cells(told: Iterable[tuple[int, int, bool, bool]], body: bytes) -> list[looking.Cell]:
    cells, at = [], 0
    for number, length, tagged, may_fail in told:
        text = body[at : at + length].decode("utf-8", "surrogatepass")
        cells.append(looking.Cell(number, text, tagged, may_fail))
        at += length
    return cells


def _too_much(path: str, where: str) -> FieldError:
    return FieldError(
        where,
        f"the notebook {path!r} takes too long or too much memory to read",
        None,
        "Send it again in a moment; if it is refused again, clear its outputs and save it first.",
    )


def _unreadable(data: bytes, path: str, where: str) -> FieldError | None:
    """Why a file can't be a script; None where it can."""
    if len(data) > MAX_SCRIPT_BYTES:
        problem = f"the script {path!r} has {len(data) / 2**20:.0f} MiB; the limit is 8 MiB"
        return FieldError(where, problem, None, SCRIPT_REMEDY)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"{path!r}, line {line}: it is not UTF-8 (byte 0x{data[error.start]:02x})"
        return FieldError(where, problem, None, "Save it as UTF-8 and send it again.")
    if not text.strip():
        return FieldError(where, f"the script {path!r} is empty", None, "Check that it is the right file.")
    return None
