"""Lead a notebook through its kernel: inputs, variables, cells, results, and an honest end."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from traceback import print_exc
from typing import Any

from . import notebook as documents
from .early import Job, JobFileError, Kernel, late, load, signal_kernel
from .events import Events
from .inputs import InputError, link_inputs
from .languages import Language, ParameterError
from .session import KernelGone, Session
from .stream import Log
from .told import Points

START_SECONDS = 3600.0
"""How long a kernel may take until it answers. Who started us ends us before: the operator says when."""
LEAVE_SECONDS = 3.0
"""How long the kernel may take for its ``atexit`` after the last cell."""
PROGRESS_SECONDS = 0.1
"""How often at most the code's own progress is told."""
TRACEBACK_BYTES = 64 * 1024
EVALUE_CHARACTERS = 4000
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_SAVE_SHARE = 10  # at most every tenth second goes into saving the notebook


class CodeFailed(Exception):
    """The code failed; ``error`` is what ``end`` tells."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["evalue"])
        self.error = error


class Stopped(Exception):
    """SIGTERM came."""


class Run:
    """One job, from its kernel's start to the ``end`` event."""

    def __init__(
        self, job: Job, events: Events, kernel: Kernel, language: Language, orders: Path | None = None
    ) -> None:
        """``orders``: of the job that the kernel was started for before it was known, once SIGUSR1 came."""
        self.job, self.events, self.kernel, self.language, self.orders = job, events, kernel, language, orders
        self.python = language.name == "python"
        self.log = Log()
        self.session: Session | None = None
        self.results = [result_error(name, "the code did not finish") for name in job.results]
        self.exit_status: int | None = None
        self._dead, self._stop = asyncio.Event(), asyncio.Event()
        self._next_save = self._next_progress = 0.0
        self._later: asyncio.TimerHandle | None = None  # will tell of the code's latest progress
        self._progress: dict[str, Any] = {"cellsDone": 0, "cells": 0, "cellId": "", "fraction": None, "message": ""}

    async def execute(self) -> None:
        """Do all of it. ``end`` is sent whatever the code does."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        self._reap()
        outcome, error = "ok", None
        try:
            await self._or_stop(self._lead())
        except CodeFailed as failed:
            outcome, error = "error", failed.error
        except (documents.NotebookError, InputError, JobFileError) as problem:
            outcome, error = "error", plain_error(type(problem).__name__, str(problem))
        except KernelGone:
            outcome = "kernelDied"
        except Stopped:
            outcome = "interrupted"
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as problem:  # a full /tmp, for example, which the code may bring about
            print_exc()
            outcome, error = "error", plain_error(type(problem).__name__, str(problem))
        if self.session is not None:
            await self._leave(gently=outcome in ("ok", "error"))
            self._save()
        if outcome == "kernelDied":
            error = self._how_it_died()
        if self._later is not None:
            self._report()
        self.events.send("end", outcome=outcome, error=error, results=self.results)
        shutil.rmtree(self.kernel.folder, ignore_errors=True)

    # The notebook

    async def _lead(self) -> None:
        if self.orders is not None:
            await self._await_job(self.orders)
        notebook = documents.load(self.job.notebook)
        documents.inject(notebook, self.job.parameters, self.language)
        link_inputs(self.job.work, self.job.inputs)
        if self.session is None:
            session = await self._meet(notebook)
            await session.agent.take_over(self.job.seed)
        else:
            session = self.session
            session.lead(notebook)
        await self._receive(session)
        if self.job.results:
            with suppress(RuntimeError):  # each result tells it, when it is asked for
                await session.agent.bring_data()
        self.events.send("started")
        session.start()
        try:
            await self._cells(session)
        except CodeFailed:
            with suppress(KernelGone):  # the code's own error is the one to tell
                await self._give(session)  # what it had set before it failed is worth having
            raise
        await self._give(session)

    async def _meet(self, notebook: Any) -> Session:
        session = self.session = Session(
            notebook, self.kernel, self.language, self.log, self._said, Points(self.job.metrics)
        )
        if self._dead.is_set():
            session.died()
        try:
            await session.connect(START_SECONDS)
        except asyncio.TimeoutError:
            raise KernelGone from None
        return session

    async def _await_job(self, orders: Path) -> None:
        """Have the kernel ready, say so, and wait for the word that the job's orders are there."""
        session = await self._meet(documents.empty())
        await session.agent.take_over()
        if self.job.preload:
            with suppress(RuntimeError):  # the job may well do without
                await session.agent.preload(self.job.preload)
        unready = ""
        try:
            await session.agent.rehearse()
        except RuntimeError as error:  # the job has it all the same: its own cells tell what is wrong
            unready = f"a cell that does nothing failed: {error}"[:EVALUE_CHARACTERS]
        known = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, known.set)
        self.events.send("waiting", **({"unready": unready} if unready else {}))
        await session.while_alive(known.wait())
        self.job = load(orders)
        self.results = [result_error(name, "the code did not finish") for name in self.job.results]
        await session.agent.adopt(late(self.job), self.job.seed)

    async def _receive(self, session: Session) -> None:
        """Bring the variables in, each as its format says; a kernel that has no way for one fails the job by name."""
        for one in self.job.variables:
            names, form = list(one["names"]), one.get("format") or "cloudpickle"
            try:
                if form == "cloudpickle" and not self.python:
                    raise ValueError(f"they are pickled, and only Python reads pickles; this is {self.language.name!r}")
                await session.agent.call("receive", one["file"], names, one.get("pythonVersion", ""), form)
            except (RuntimeError, ValueError, OSError, ParameterError) as error:
                text = str(error)
                if not isinstance(error, RuntimeError):
                    text = f"The variables {', '.join(names)} can't be brought in: {text}"
                raise CodeFailed(plain_error("VariablesError", text)) from error

    async def _cells(self, session: Session) -> None:
        cells = session.nb.cells
        wanted = [(index, cell) for index, cell in enumerate(cells) if self._runs(session, cell)]
        self._progress["cells"] = len(wanted)
        for done, (index, cell) in enumerate(wanted):
            self._report(cellsDone=done, cellId=cell.id)
            if self.python and session.agent.taken_over and (name := documents.file_name(cell)):
                with suppress(RuntimeError, OSError, ValueError):  # an odd IPython still runs it, as a cell
                    await session.agent.call("as_script", name, str(self.job.work))
            reply = await session.run_cell(cell, index)
            if self._stop.is_set():
                raise Stopped
            self._save(unless_busy=True)
            if reply["status"] == "ok":
                continue
            if reply.get("ename") == "SystemExit" and reply.get("evalue") in ("", "0", "None", "False"):
                break  # sys.exit() and sys.exit(0) end the job, and well: as in a script
            if "raises-exception" not in documents.tags(cell):
                raise CodeFailed(await self._error(session, reply, cell.id, index))
        self._report(cellsDone=len(wanted), cellId="")

    @staticmethod
    def _runs(session: Session, cell: Any) -> bool:
        return documents.runnable(cell) and session.skip_cells_with_tag not in documents.tags(cell)

    async def _error(self, session: Session, reply: dict[str, Any], cell_id: str, index: int) -> dict[str, Any]:
        text = _ANSI.sub("", "\n".join(reply.get("traceback") or []))
        error = plain_error(reply.get("ename") or "Aborted", reply.get("evalue") or "", text)
        ours = documents.injected_above(session.nb, index)  # its author counts without them
        error.update(cellId=cell_id, cellIndex=index - ours)
        error["line"] = reply.get("line") or self.language.line(text)
        if self.python:
            with suppress(RuntimeError, OSError, ValueError):
                found = await session.agent.call("where")
                error["line"] = found["line"] or error["line"]
                if reply.get("ename") == "NoneType":  # ipykernel's word where a value could not be shown
                    error.update(ename=found["ename"], evalue=found["evalue"])
        if error["line"] and not session.agent.taken_over:
            error["line"] += documents.lines_above(session.nb.cells[index])
        return error

    async def _give(self, session: Session) -> None:
        folder = self.job.out / "results"
        for position, name in enumerate(self.job.results):
            if not session.agent.taken_over:
                self.results[position] = result_error(name, "variables come back from Python, R and Toree's Scala only")
                continue
            self.results[position] = result_error(name, f"the kernel died while it pickled {name!r}")
            try:
                folder.mkdir(exist_ok=True)
                self.results[position] = await session.agent.call("give", name, str(folder / name))
            except (RuntimeError, OSError, ValueError) as error:
                self.results[position] = result_error(name, f"{name!r} could not be brought back: {error}")

    # What is told on the way

    def _said(self, data: dict[str, Any]) -> None:
        """The code's own words on its progress."""
        fraction, message = data.get("fraction"), data.get("message", "")
        is_number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool) and 0 <= fraction <= 1
        self._progress.update(fraction=fraction if is_number else None, message=str(message)[:500])
        if self._later is None:
            wait = max(0.0, self._next_progress - time.monotonic())
            self._later = asyncio.get_running_loop().call_later(wait, self._report)

    def _report(self, **change: Any) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        self._progress.update(change)
        self.events.send("progress", **self._progress)

    def _save(self, *, unless_busy: bool = False) -> None:
        assert self.session is not None
        begin = time.monotonic()
        if unless_busy and begin < self._next_save:
            return
        try:
            self.session.set_widgets_metadata()
            documents.save(self.session.nb, self.job.out / "notebook.ipynb")
        except OSError as error:  # a full disk: the job's outcome is its code's; the supervisor names the limit
            os.write(2, f"The executed notebook can't be saved: {error.strerror}\n".encode())
            return
        took = time.monotonic() - begin
        self._next_save = begin + took * _SAVE_SHARE if took > 0.1 else 0.0
        self.events.send("notebook")

    # The end

    async def _or_stop(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, but on SIGTERM interrupt the code, wait a part of the grace, and raise :class:`Stopped`."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set() and not task.done():
                for _ in range(2):  # code may catch the first one
                    signal_kernel(self.kernel, signal.SIGINT)
                    await asyncio.wait({task}, timeout=self.job.grace_seconds * 0.3)
                    if task.done():
                        break
            if task.done() and not self._stop.is_set():
                task.result()
                return
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)
        raise Stopped

    async def _leave(self, *, gently: bool) -> None:
        """Let the kernel run its ``atexit``, then end it and what it left behind, and bring out the last words."""
        assert self.session is not None
        if gently and self.session.kc is not None and not self._dead.is_set():
            if self.python and self.session.started:
                with suppress(RuntimeError, OSError, ValueError, KernelGone):
                    await self.session.agent.call("leave")
            self.session.kc.shutdown()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._dead.wait(), LEAVE_SECONDS)
        signal_kernel(self.kernel, signal.SIGKILL)
        await self.session.close()

    def _reap(self) -> None:
        """Take the kernel's exit status; as the sandbox's first process, also that of every orphan."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.kernel.pid:
                    self.exit_status = ended[1]
                    self._dead.set()
                    if self.session is not None:
                        self.session.died()

    def _how_it_died(self) -> dict[str, Any]:
        started = self.session is not None and self.session.started
        if self.exit_status is None:
            how = f"did not answer within {START_SECONDS:.0f} seconds"
        elif os.WIFSIGNALED(self.exit_status):
            how = f"was killed by {signal_name(os.WTERMSIG(self.exit_status))}"
        else:
            how = f"exited with status {os.WEXITSTATUS(self.exit_status)}"
        if started:
            error = plain_error("KernelDied", f"The kernel {how} while the code ran.")
            error["cellId"] = self._progress["cellId"]
            return error
        said = self.session.said_early.strip() if self.session is not None else ""
        return plain_error(
            "KernelDied", f"The kernel {how} before the code began." + (f" It said: {said}" * bool(said))
        )


def signal_name(number: int) -> str:
    """``SIGKILL``; of the real-time signals most have a number only: ``signal 40``."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def plain_error(ename: str, evalue: str, traceback: str = "") -> dict[str, Any]:
    """The ``error`` of an ``end`` event, with no cell."""
    if len(evalue) > EVALUE_CHARACTERS:
        evalue = evalue[:EVALUE_CHARACTERS] + " …"
    encoded = traceback.encode("utf-8", "backslashreplace")
    if len(encoded) > TRACEBACK_BYTES:
        half = TRACEBACK_BYTES // 2 - 20
        encoded = encoded[:half] + "\n…\n".encode() + encoded[-half:]
    text = encoded.decode("utf-8", "ignore")
    return {"ename": ename, "evalue": evalue, "traceback": text, "cellId": "", "cellIndex": None, "line": None}


def result_error(name: str, error: str) -> dict[str, Any]:
    """What ``end`` tells of a result that did not come back."""
    return {"name": name, "size": 0, "type": "", "python": "", "error": error}
