"""Our side of the agent: the code of ours in the kernel that runs cells and brings variables in and out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .languages import Language

REHEARSALS = 3
"""R compiles a function when it is called for the second time, or the third."""


class Agent:
    """Brings our code into a kernel and calls it; what it answers comes as a file in ``folder``.

    ``execute(code)`` runs code silently and returns the reply's content.
    """

    def __init__(
        self, language: Language, folder: Path, mark: bytes, execute: Callable[[str], Awaitable[dict[str, Any]]]
    ) -> None:
        self.taken_over = False  # whether cells are run by our code, and variables come back
        self.refusal = ""  # why not
        self._language, self._folder, self._mark, self._execute = language, folder, mark, execute
        self._calls = False
        self._before = ""  # what goes with the next code

    async def take_over(self, seed: int | None = None) -> None:
        """Prepare the kernel for our way of running cells; its random numbers begin at ``seed``.

        A kernel that does not let itself be taken over, an unknown one of R or Scala, is used as it is. Raises
        ``RuntimeError`` where that can't be.
        """
        if await self._has_it(seed):
            return
        code = self._language.take_over(self._mark, seed)
        if not code:
            return
        try:
            await self._silently(code)
        except RuntimeError as error:
            if not self._language.cell("", ""):
                raise
            self.refusal = str(error)
        else:
            self.taken_over = True

    async def _has_it(self, seed: int | None) -> bool:
        """Whether our code was in the kernel from its start: then it is taken over now."""
        compiled = self._language.compiled()
        if compiled is None:
            return False
        answer = self._answer_file()
        await self._execute(compiled.greet(str(answer), self._mark, seed))
        self.taken_over = answer.exists()
        if self.taken_over:
            self._language = compiled
        return self.taken_over

    async def adopt(self, values: dict[str, str], seed: int | None) -> None:
        """Let a kernel that was taken over have its job's variables and seed. Raises ``RuntimeError``."""
        code = self._language.adopt(values, seed) if self.taken_over else ""
        if not code:
            raise RuntimeError("a kernel of this language can't wait for its job")
        if self._language.adopts_with_code:
            self._before = f"{code}\n"
        else:
            await self._silently(code)

    async def preload(self, names: list[str]) -> None:
        """Load packages before the job is known; none is a must. Raises ``RuntimeError``."""
        if self.taken_over and (code := self._language.preload(names)):
            await self._silently(code)

    async def rehearse(self) -> None:
        """Have the kernel compile what it takes to run a cell, before there is one.

        Raises ``RuntimeError`` where that does not work as a cell that does nothing has to.
        """
        if not (self.taken_over and self._language.rehearsal):
            return
        for _ in range(REHEARSALS):
            code, answer = self.code(self._language.rehearsal)
            await self._silently(code)
            if answer is None or not answer.exists():
                raise RuntimeError("our code did not tell how it ended")
            told = json.loads(answer.read_bytes())
            if told["status"] != "ok":
                raise RuntimeError(told.get("evalue") or told.get("ename") or "it failed")
        self._answer_file()

    async def bring_data(self) -> None:
        """Define what :meth:`call` calls, once. Raises ``RuntimeError``.

        To be called before the user's code where it will be needed: Toree tells of every definition, also of silent
        ones, and what it tells later goes into the log.
        """
        if self.taken_over and not self._calls:
            if data := self._language.data():
                await self._silently(data)
            self._calls = True

    async def call(self, function: str, *args: Any) -> dict[str, Any]:
        """Call a function that we brought into the kernel; its answer. Raises ``RuntimeError`` with its error."""
        path = self._answer_file()
        code = self._language.call(str(path), function, args) if self.taken_over else ""
        if not code:
            why = f"; it refused our code: {self.refusal[:1000]}" if self.refusal else ""
            raise RuntimeError(f"a kernel of {self._language.name!r} can't do this{why}")
        await self.bring_data()
        await self._silently(code)
        answer: dict[str, Any] = json.loads(path.read_bytes())
        if "failure" in answer:  # of kernels that don't tell of errors in what is run silently
            raise RuntimeError(answer["failure"])
        return answer

    def code(self, source: str, above: int = 0) -> tuple[str, Path | None]:
        """What to send for a cell, and the file in which its end will be told, where it is not in the reply.

        Where our code runs it, its lines count from behind ``above`` empty ones.
        """
        source = "\n" * above * self.taken_over + source
        path = self._folder / "cell"
        code = self._language.cell(str(path), str(self._folder / "answer.json")) if self.taken_over else ""
        if not code:
            return source, None
        path.write_text(source, encoding="utf-8", errors="backslashreplace")
        return self._behind(code), self._answer_file()

    def _behind(self, code: str) -> str:
        before, self._before = self._before, ""
        return before + code

    def _answer_file(self) -> Path:
        path = self._folder / "answer.json"
        path.unlink(missing_ok=True)
        return path

    async def _silently(self, code: str) -> None:
        reply = await self._execute(self._behind(code))
        if reply["status"] != "ok":
            raise RuntimeError(reply.get("evalue") or reply.get("ename") or "the kernel refused")
