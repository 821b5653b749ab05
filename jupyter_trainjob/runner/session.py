"""A running kernel and the conversation with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient.client import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from .early import Kernel
from .languages import Language
from .notebook import CellOutputs, add_stream, error_output, from_dict
from .stream import Log, Parser, Pipe, Token
from .told import Lines, Point, Points, Progress

PROGRESS_TYPE = "application/vnd.trainjob.progress+json"
_SHOWN = frozenset(
    [
        *("status", "execute_input", "stream", "display_data", "execute_result", "update_display_data", "error"),
        *("clear_output", "comm_open", "comm_msg", "comm_close"),
    ]
)
HOLD_SECONDS = 5.0
"""How long text waits for a displayed object that stands before it but does not come."""
PART_SECONDS = 0.3
"""How long the beginning of what may be a line for us (see :mod:`.told`) waits for the rest."""


class KernelGone(Exception):
    """The kernel died."""


class Session(NotebookClient):
    """Talks with one kernel: sends code, sends what is printed to the log and into the cells' outputs, in order.

    All that changes the order of things holds ``_turn``: the text pump and the handler of messages.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        language: Language,
        log: Log,
        progress: Callable[[dict[str, Any]], None],
        points: Points,
    ) -> None:
        super().__init__(notebook)
        self.kernel, self.language, self._log, self._progress = kernel, language, log, progress
        self._points, self._lines, self._told = points, Lines(), Lines()
        self.started = self.taken_over = self._subscribed = self._closed = self._calls = False
        self.mark = b"\x1etj" + os.urandom(12).hex().encode()  # printable in every language, but printed in none
        self._pipe, self._parser = Pipe(kernel.output), Parser(self.mark)
        self._tokens: list[Token] = []
        self._reached = self._released = 0
        self._turn, self._free = asyncio.Lock(), asyncio.Event()
        self._pointless = False  # whether the log says that points are lost
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle: dict[str, asyncio.Event] = {}
        self._here: tuple[NotebookNode, int, CellOutputs] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.early = bytearray()

    # Beginning and end

    async def connect(self, timeout_seconds: float = 120.0) -> None:
        """Wait for the kernel's sockets, connect, and learn what it speaks. Raises :class:`KernelGone`."""
        connection = self.kernel.connection
        if connection["transport"] == "ipc":
            await self._while_alive(self._await_sockets(connection), timeout_seconds)
        client = AsyncKernelClient()
        client.load_connection_file(str(self.kernel.connection_file))
        client.start_channels(shell=True, iopub=True, stdin=False, hb=False, control=True)  # noqa: S604 - a channel
        self.kc = client
        for work in (self._pump(), self._listen()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._failed)
            self._tasks.append(task)
        while True:
            reply = await self._while_alive(self.request(client.kernel_info, idle_seconds=0.2), timeout_seconds)
            if self._subscribed:
                break
        self.nb.metadata["language_info"] = from_dict(reply.get("language_info", {}))

    async def _await_sockets(self, connection: dict[str, Any]) -> None:
        wanted = {f"k-{connection[name]}" for name in ("shell_port", "iopub_port")}
        while not wanted <= {path.name for path in self.kernel.folder.iterdir()}:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

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
                await asyncio.wait_for(self._quiet(), 1.0)
        async with self._turn:
            self._released = 1 << 62
            await self._drain()
            for token in self._parser.end():
                await self._handle_token(token)
            await self._release()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.kc is not None:
            self.kc.stop_channels()

    async def _quiet(self) -> None:
        assert self.kc is not None
        while await self.kc.iopub_channel.msg_ready():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    # Requests

    async def request(
        self, send: Callable[..., str], *args: Any, idle_seconds: float | None = None, **kwargs: Any
    ) -> Any:
        """Send a request on the shell channel; its reply, once all of its messages were handled too.

        Raises :class:`KernelGone`.
        """
        assert self.kc is not None
        id_ = send(*args, **kwargs)
        idle = self._idle[id_] = asyncio.Event()
        try:
            reply = await self._while_alive(self._reply(id_))
            with contextlib.suppress(asyncio.TimeoutError):
                await self._while_alive(idle.wait(), idle_seconds)
        finally:
            del self._idle[id_]
        async with self._turn:
            await self._drain()
        return reply["content"]

    async def _reply(self, id_: str) -> Any:
        assert self.kc is not None
        while True:
            message = await self.kc.shell_channel.get_msg(timeout=None)
            if message["parent_header"].get("msg_id") == id_:
                return message

    async def _while_alive(self, what: Any, timeout_seconds: float | None = None) -> Any:
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

    async def take_over(self, seed: int | None = None) -> None:
        """Prepare the kernel for our way of running cells; its random numbers begin at ``seed``.

        What it said before is kept in ``early``, not in the log.

        A kernel that does not let itself be taken over, an unknown one of R or Scala, is used as it is.
        """
        code = self.language.take_over(self.mark, seed)
        if not code:
            return
        try:
            await self._silently(code)
        except RuntimeError as error:
            if not self.language.cell("", ""):
                raise
            self.early += f"[{error}]\n".encode("utf-8", "backslashreplace")
        else:
            self.taken_over = True

    @property
    def gives(self) -> bool:
        """Whether variables come back from this kernel."""
        return self.taken_over

    async def call(self, function: str, *args: Any) -> dict[str, Any]:
        """Call a function that we brought into the kernel; its answer. Raises ``RuntimeError`` with its error."""
        path = self._answer_file()
        code = self.language.call(str(path), function, args) if self.taken_over else ""
        if not code:
            raise RuntimeError(f"a kernel of {self.language.name!r} can't do this")
        if not self._calls and (data := self.language.data()):
            await self._silently(data)
        self._calls = True
        await self._silently(code)
        answer: dict[str, Any] = json.loads(path.read_bytes())
        if "failure" in answer:  # of kernels that don't tell of errors in what is run silently
            raise RuntimeError(answer["failure"])
        return answer

    def _answer_file(self) -> Path:
        path = self.kernel.folder / "answer.json"
        path.unlink(missing_ok=True)
        return path

    async def _silently(self, code: str) -> None:
        assert self.kc is not None
        reply = await self.request(self.kc.execute, code, silent=True, store_history=False, allow_stdin=False)
        if reply["status"] != "ok":
            raise RuntimeError(reply.get("evalue") or reply.get("ename") or "the kernel refused")

    async def run_cell(self, cell: NotebookNode, index: int) -> dict[str, Any]:
        """Run one cell; the reply's content. Raises :class:`KernelGone`."""
        assert self.kc is not None
        cell.outputs = []
        cell.metadata["execution"] = {}
        outputs = CellOutputs(cell)
        async with self._turn:
            await self._release()
            self._lines.begin_line()
        self._here = (cell, index, outputs)
        self.clear_before_next_output = False
        code, answer = self._code(cell)
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

    def _code(self, cell: NotebookNode) -> tuple[str, Path | None]:
        """What to send for a cell, and the file in which its end will be told, where it is not in the reply."""
        path = self.kernel.folder / "cell"
        code = self.language.cell(str(path), str(self.kernel.folder / "answer.json")) if self.taken_over else ""
        if not code:
            return cell.source, None
        path.write_text(cell.source, encoding="utf-8", errors="backslashreplace")
        return code, self._answer_file()

    async def _show_error(self, cell: NotebookNode, answer: dict[str, Any]) -> None:
        """An error that did not come as a message is shown as one."""
        if answer["status"] != "error" or not answer["traceback"]:
            return
        async with self._turn:
            await self._release()
            cell.outputs.append(error_output(answer))
            await self._log.line("\n".join(answer["traceback"]))

    # What comes back

    async def _pump(self) -> None:
        """Bring text from the pipe to the log, up to a mark whose message has not come."""
        while not self._pipe.ended:
            await self._readable()
            async with self._turn:
                await self._advance(self._pipe.read())
            deadline = time.monotonic() + HOLD_SECONDS
            while self._held:
                self._free.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._free.wait(), max(0.0, deadline - time.monotonic()))
                async with self._turn:
                    if time.monotonic() >= deadline:
                        self._released = max(self._released, self._reached)
                    await self._advance(b"")

    async def _readable(self) -> None:
        """Wait for text. What may be the beginning of a line for us does not wait long for the rest of it."""
        if self._lines.holds:
            try:
                await asyncio.wait_for(self._pipe.readable(), PART_SECONDS)
                return
            except asyncio.TimeoutError:
                async with self._turn:
                    await self._release(short=True)
        await self._pipe.readable()

    @property
    def _held(self) -> bool:
        return bool(self._tokens) and self._reached > self._released

    async def _advance(self, data: bytes) -> None:
        self._tokens.extend(self._parser.feed(data))
        while self._tokens and self._reached <= self._released:
            token = self._tokens.pop(0)
            await self._handle_token(token)

    async def _until_mark(self, number: int) -> None:
        """Bring out what was printed before the message ``number``."""
        self._released = max(self._released, number - 1)
        await self._advance(b"")
        while self._reached < number and (data := self._pipe.read()):
            await self._advance(data)
        self._released = max(self._released, number)

    async def _drain(self) -> None:
        """Bring out all that is in the pipe at this moment."""
        await self._advance(b"")
        left = self._pipe.waiting()
        while left > 0 and (data := self._pipe.read(left)):
            left -= len(data)
            await self._advance(data)

    async def _handle_token(self, token: Token) -> None:
        name, data = token
        if isinstance(data, int):
            await self._release(short=True)
            self._reached = max(self._reached, data)
            return
        if not self.started:
            self.early += data
            del self.early[:-16384]
            return
        if name == "stderr":
            await self._release(short=True)
            await self._print(name, data)
            return
        points: list[bytes] = []
        for part in (self._told if name == "told" else self._lines).feed(data):
            if isinstance(part, Point):
                points.append(part)
            elif isinstance(part, Progress):
                self._progress(part)
            elif name != "told":
                await self._print(name, part)
        if points:
            await self._keep_points(b"".join(points))

    async def _release(self, *, short: bool = False) -> None:
        """Bring out what was held back as the beginning of a line for us."""
        if held := self._lines.release(short=short):
            await self._print("stdout", held)

    async def _keep_points(self, lines: bytes) -> None:
        try:
            self._points.write(lines)
        except OSError as error:  # a full disk, or something of the job's in the file's place: not the code's failure
            if not self._pointless:
                await self._log.line(f"[metrics are lost: their file can't be written: {error.strerror}]")
            self._pointless = True

    async def _print(self, name: str, data: bytes) -> None:
        await self._log.write(data)
        if self._here is not None:
            cell, index, outputs = self._here
            kept = outputs.stream(name, data)
            if kept is not None:
                self._keep_stream(cell, index, *kept)

    def _keep_stream(self, cell: NotebookNode, index: int, name: str, text: str) -> None:
        if self.clear_before_next_output:
            cell.outputs[:] = []
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False
        add_stream(cell.outputs, name, text)

    async def _listen(self) -> None:
        assert self.kc is not None
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=None)
            self._subscribed = True
            async with self._turn:
                number = _mark(message)
                if isinstance(number, int):
                    await self._until_mark(number)
                await self._handle_message(message)
                self._free.set()

    async def _handle_message(self, message: dict[str, Any]) -> None:
        type_, content = message["header"]["msg_type"], message["content"]
        parent = message["parent_header"].get("msg_id")
        if type_ == "status":
            if content["execution_state"] == "idle" and parent in self._idle:
                self._idle[parent].set()
            if self._here is None or "execution" not in self._here[0].metadata:
                return
        if not self.started or self._here is None or type_ not in _SHOWN:
            return
        cell, index, outputs = self._here
        if type_ == "stream":
            await self._handle_token((content["name"], content["text"].encode("utf-8", "backslashreplace")))
            return
        if type_ in ("display_data", "execute_result", "update_display_data"):
            if self._is_progress(content):
                return
            self._lines.begin_line()
            if not outputs.rich(_size(content)):
                content = {**content, "data": _too_large(content["data"])}
                message = {**message, "content": content}
        with contextlib.suppress(CellExecutionComplete):
            self.process_message(message, cell, index)
        if type_ in ("display_data", "execute_result"):
            await self._log.line(_text(content["data"]))
        elif type_ == "error":
            await self._log.line("\n".join(content["traceback"]) or f"{content['ename']}: {content['evalue']}")

    def _is_progress(self, content: dict[str, Any]) -> bool:
        data = content["data"].get(PROGRESS_TYPE)
        if isinstance(data, dict):
            self._progress(data)
        return PROGRESS_TYPE in content["data"]


def _mark(message: dict[str, Any]) -> Any:
    """The number of the mark that stands before what this message shows, where there is one."""
    shown = message["content"].get("metadata")
    if isinstance(shown, dict) and "trainjob_mark" in shown:
        return shown.pop("trainjob_mark")
    return message["metadata"].get("trainjob_mark")


def _size(content: dict[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value)) for value in content["data"].values())


def _too_large(data: dict[str, Any]) -> dict[str, Any]:
    kinds = ", ".join(data)
    return {"text/plain": f"[an output ({kinds}) is left out here: the cell's outputs are too large to be saved]"}


def _text(data: dict[str, Any]) -> str:
    text = data.get("text/plain")
    if text is None:
        return f"<{', '.join(data)}>"
    return text if isinstance(text, str) else "".join(text)
