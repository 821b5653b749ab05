"""Looks at a job's code in threads of its own: no look, however long, keeps the event loop or another language's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from ...resources.errors import FieldError
from . import notebook as notebooks
from .findings import Findings, code_hash
from .language import Language
from .parameters import declared_errors, untagged_error, used_errors
from .python import Python
from .r import R
from .rparser import RParser
from .scala import Scala
from .scalaparser import ScalaParser

DIGEST = "spec.source.digest"
CODE = "spec.source.code"
MAX_SCRIPT_BYTES = 8 * 1024 * 1024
THREADS = 2
"""For each language: one that is slow to start keeps nobody else waiting."""
SUFFIXES = {".py": "python", ".r": "r", ".scala": "scala"}


def language_of(path: str) -> str:
    """The language of a script, by its suffix; empty for another."""
    return SUFFIXES.get(PurePosixPath(path).suffix.lower(), "")


def installed_kernelspecs() -> Iterable[Mapping[str, Any]]:
    """The kernel.json that Jupyter finds."""
    from jupyter_client.kernelspec import KernelSpecManager

    return [dict(found["spec"]) for found in KernelSpecManager().get_all_specs().values()]


class Inspector:
    """What can be said of code before it runs.

    ``cache`` is a folder for what is made once of the Scala compiler; without one Scala is not checked. What can't be
    told in a few seconds is accepted: the job itself will tell.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        kernelspecs: Callable[[], Iterable[Mapping[str, Any]]] = installed_kernelspecs,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        made: tuple[Language, ...] = (
            Python(),
            R(RParser(kernelspecs)),
            Scala(ScalaParser(kernelspecs, cache, environment=environment)),
        )
        self.languages = {language.name: language for language in made}
        self._pools = {name: ThreadPoolExecutor(THREADS, f"trainjob-{name}") for name in self.languages}

    async def cell(self, code: str, language: str, parameters: Mapping[str, Any]) -> Findings:
        """Findings about one cell in ``language`` (empty: Python)."""
        return await self._run(language or "python", _cell, code, "the cell", CODE, parameters)

    async def script(
        self, data: bytes, path: str, language: str, parameters: Mapping[str, Any], where: str = DIGEST
    ) -> Findings:
        """Findings about a file of code. ``language`` is what was asked for; empty: by its suffix."""
        told = language_of(path)
        error = _unreadable(data, path, where)
        if error is not None:
            return Findings([error], told)
        code = data.decode("utf-8-sig")
        findings = await self._run(language or told, _cell, code, "the script", where, parameters)
        findings.language = told
        return findings

    async def notebook(
        self, data: bytes, path: str, language: str, parameters: Mapping[str, Any], where: str = DIGEST
    ) -> Findings:
        """Findings about a notebook file. ``language`` is what was asked for; empty: as the notebook tells."""
        findings = Findings()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pools["python"], notebooks.load, data, path, where, findings.errors)
        if found is None:
            return findings
        findings.language, findings.kernel = notebooks.languages(found)
        cells = notebooks.code_cells(found)
        findings.code_hash = code_hash([notebooks.source(cell) for _, cell in cells])
        if not any(notebooks.source(cell).strip() for _, cell in cells):
            findings.errors.append(_empty(path, where))
            return findings
        spoken = language or findings.language or "python"
        checked = await self._run(spoken, _cells, cells, path, where, parameters)
        findings.errors, findings.parameters = checked.errors, checked.parameters
        return findings

    async def _run(self, name: str, look: Callable[..., Findings], subject: Any, *arguments: Any) -> Findings:
        """``look`` in a thread of the language's; nothing is found out about one that isn't known here."""
        language = self.languages.get(name.lower())
        if language is None:
            texts = [subject] if isinstance(subject, str) else [notebooks.source(cell) for _, cell in subject]
            return Findings(code_hash=code_hash(texts))
        return await asyncio.get_running_loop().run_in_executor(
            self._pools[language.name], look, language, subject, *arguments
        )

    def close(self) -> None:
        """End what runs for the languages."""
        for language in self.languages.values():
            language.close()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _cell(language: Language, code: str, what: str, where: str, parameters: Mapping[str, Any]) -> Findings:
    findings = Findings(code_hash=code_hash([code]))
    complaint = language.complaints([code])[0]
    if complaint is not None:
        findings.errors.append(complaint.error(where))
    elif parameters:
        uses = language.uses(code, parameters.keys())
        if uses is not None:
            findings.errors += used_errors(uses, parameters, what)
    return findings


def _cells(
    language: Language,
    cells: Sequence[tuple[int, Mapping[str, Any]]],
    path: str,
    where: str,
    parameters: Mapping[str, Any],
) -> Findings:
    findings = Findings()
    checked = [(number, notebooks.source(cell)) for number, cell in cells if not _may_fail(cell)]
    complaints = language.complaints([code for _, code in checked])
    for (number, _), complaint in zip(checked, complaints, strict=True):
        if complaint is not None:
            findings.errors.append(complaint.error(where, f"cell {number}, "))
    tagged = next(((number, cell) for number, cell in cells if "parameters" in notebooks.tags(cell)), None)
    if tagged is None:
        if parameters and not findings.errors:
            findings.errors.append(untagged_error(path, parameters))
        return findings
    number, cell = tagged
    declared = language.declared(notebooks.source(cell))
    findings.parameters = declared or []
    if declared is not None and not findings.errors:
        findings.errors += declared_errors(declared, parameters, number)
    return findings


def _may_fail(cell: Mapping[str, Any]) -> bool:
    return "raises-exception" in notebooks.tags(cell)


def _unreadable(data: bytes, path: str, where: str) -> FieldError | None:
    """Why a file can't be a script; None where it can."""
    if len(data) > MAX_SCRIPT_BYTES:
        problem = f"the script {path!r} has {len(data) / 2**20:.0f} MiB; the limit is 8 MiB"
        return FieldError(where, problem, None, "Put data into a file and send it with --files.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"{path!r}, line {line}: it is not UTF-8 (byte 0x{data[error.start]:02x})"
        return FieldError(where, problem, None, "Save it as UTF-8 and send it again.")
    if not text.strip():
        return FieldError(where, f"the script {path!r} is empty", None, "Check that it is the right file.")
    return None


def _empty(path: str, where: str) -> FieldError:
    return FieldError(
        where,
        f"the notebook {path!r} has no code cell with code in it",
        None,
        "Check that it is the right file and that it is saved.",
    )
