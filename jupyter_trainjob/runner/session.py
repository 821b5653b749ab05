"""Leads a running kernel: connects, sends requests and cells, and lets it go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbformat import NotebookNode

from .agent import Agent
from .early import Kernel
from .languages import Language
from .messages import Messages
from .notebook import CellOutputs, error_output, from_dict, lines_above
from .stream import Log
from .told import Points


class KernelGone(Exception):
    """The kernel died."""


class Session(Messages):
    """Talks with one kernel. :class:`Messages` reads what comes back, :class:`.printed.Printed` what is printed."""

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        language: Language,
        log: Log,
        progress: Callable[[dict[str, Any]], None],
        points: Points,
    ) -> None:
        mark = b"\x1etj" + os.urandom(12).hex().encode()  # printable in every language, but printed in none
        super().__init__(notebook, kernel.output, mark, log, progress, points)
        self.kernel = kernel
        self.agent = Agent(language, kernel.folder, mark, self._silently)
        self._closed = False
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    # Beginning and end

    async def connect(self, timeout_seconds: float = 120.0) -> None:
        """Wait for the kernel's sockets, connect, and learn what it speaks. Raises :class:`KernelGone`."""
        connection = self.kernel.connection
        if connection["transport"] == "ipc":
            await self.while_alive(self._await_sockets(connection), timeout_seconds)
        client = AsyncKernelClient()
        client.load_connection_file(str(self.kernel.connection_file))
        client.start_channels(shell=True, iopub=True, stdin=False, hb=False, control=True)  # noqa: S604 - a channel
        self.kc = client
        for work in (self.printed.pump(), self.listen()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._failed)
            self._tasks.append(task)
        while True:
            reply = await self.while_alive(self.request(client.kernel_info, idle_seconds=0.2), timeout_seconds)
            if self.subscribed:
                break
        self.nb.metadata["language_info"] = from_dict(reply.get("language_info", {}))

    async def _await_sockets(self, connection: dict[str, Any]) -> None:
        wanted = {f"k-{connection[name]}" for name in ("shell_port", "iopub_port")}
        while not wanted <= {path.name for path in self.kernel.folder.iterdir()}:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    def start(self) -> None:
        """From here on, what the kernel says is the code's: it goes to the log."""
        self.printed.started = True

    def lead(self, notebook: NotebookNode) -> None:
        """The notebook to run, where it was not known when the kernel was met."""
        notebook.metadata["language_info"] = self.nb.metadata["language_info"]
        self.nb = notebook

    @property
    def started(self) -> bool:
        """Whether the code may have begun."""
        return self.printed.started

    @property
    def said_early(self) -> str:
        """The end of what was said before the code began: by the kernel, and of its refusal to be taken over."""
        refusal = f"[{self.agent.refusal}]\n" if self.agent.refusal else ""
        return bytes(self.printed.early).decode("utf-8", "replace") + refusal

    def died(self) -> None:
        """Tell the session that its kernel has died."""
        if not self._gone.done():
            self._gone.set_result(None)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """An accident of ours ends the run loudly, where else it would wait for ever."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._gone.done():
            self._gone.set_exception(error)

    async def close(self) -> None:
        """Bring out what is still on its way, and let go. Doing it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if self._gone.done() and self.kc is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.quiet(), 1.0)
        async with self.printed.turn:
            await self.printed.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.kc is not None:
            self.kc.stop_channels()

    # Requests

    async def request(
        self, send: Callable[..., str], *args: Any, idle_seconds: float | None = None, **kwargs: Any
    ) -> Any:
        """Send a request on the shell channel; its reply, once all of its messages were handled too.

        Raises :class:`KernelGone`.
        """
        id_ = send(*args, **kwargs)
        idle = self.idle[id_] = asyncio.Event()
        try:
            reply = await self.while_alive(self._reply(id_))
            with contextlib.suppress(asyncio.TimeoutError):
                await self.while_alive(idle.wait(), idle_seconds)
        finally:
            del self.idle[id_]
        async with self.printed.turn:
            await self.printed.drain()
        return reply["content"]

    async def _reply(self, id_: str) -> Any:
        assert self.kc is not None
        while True:
            message = await self.kc.shell_channel.get_msg(timeout=None)
            if message["parent_header"].get("msg_id") == id_:
                return message

    async def while_alive(self, what: Any, timeout_seconds: float | None = None) -> Any:
        """Await it. Raises :class:`KernelGone` where the kernel dies first, and ``asyncio.TimeoutError``."""
        task = asyncio.ensure_future(what)
        try:
            done, _ = await asyncio.wait(
                {task, self._gone}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if task in done:
                return task.result()
            if self._gone.done():
                self._gone.result()
                raise KernelGone
            raise asyncio.TimeoutError
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _silently(self, code: str) -> dict[str, Any]:
        assert self.kc is not None
        reply: dict[str, Any] = await self.request(
            self.kc.execute, code, silent=True, store_history=False, allow_stdin=False
        )
        return reply

    # Cells

    async def run_cell(self, cell: NotebookNode, index: int) -> dict[str, Any]:
        """Run one cell; the reply's content. Raises :class:`KernelGone`."""
        assert self.kc is not None
        cell.outputs = []
        cell.metadata["execution"] = {}
        outputs = CellOutputs(cell)
        async with self.printed.turn:
            await self.printed.release()
            self.printed.begin_line()
        self.here = (cell, index, outputs)
        self.clear_before_next_output = False
        code, answer = self.agent.code(cell.source, lines_above(cell))
        try:
            reply: dict[str, Any] = await self.request(
                self.kc.execute, code, silent=False, store_history=True, allow_stdin=False, stop_on_error=False
            )
            cell["execution_count"] = reply.get("execution_count")
            if answer is not None and answer.exists():
                reply = json.loads(answer.read_bytes())
                await self._show_error(cell, reply)
            return reply
        finally:
            if self._gone.done():
                await self.close()
            outputs.finish()

    async def _show_error(self, cell: NotebookNode, answer: dict[str, Any]) -> None:
        """An error that did not come as a message is shown as one."""
        if answer["status"] != "error" or not answer["traceback"]:
            return
        async with self.printed.turn:
            await self.printed.release()
            cell.outputs.append(error_output(answer))
            await self._log.line("\n".join(answer["traceback"]))
