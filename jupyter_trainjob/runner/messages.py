"""What a kernel's messages show: objects, errors, progress. They go into the outputs of the cell that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

from nbclient.client import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from .notebook import CellOutputs, add_stream
from .printed import Printed
from .stream import Log
from .told import Points

_JSON = re.compile(r"application/(.*\+)?json\Z")
PROGRESS_TYPE = "application/vnd.trainjob.progress+json"
_SHOWN = frozenset(
    [
        *("status", "execute_input", "stream", "display_data", "execute_result", "update_display_data", "error"),
        *("clear_output", "comm_open", "comm_msg", "comm_close"),
    ]
)


class Messages(NotebookClient):
    """Reads the messages of the kernel that ``kc`` speaks with, in order with what it prints (``printed``)."""

    def __init__(
        self,
        notebook: NotebookNode,
        output: int,
        mark: bytes,
        log: Log,
        progress: Callable[[dict[str, Any]], None],
        points: Points,
    ) -> None:
        super().__init__(notebook)
        self.printed = Printed(output, mark, log, points, progress, self._keep_text)
        self.subscribed = False  # whether any message came: the kernel sends those of before to nobody
        self.idle: dict[str, asyncio.Event] = {}  # by request: all that it shows was handled
        self.here: tuple[NotebookNode, int, CellOutputs] | None = None  # the cell that runs, its index
        self._log, self._progress = log, progress

    async def listen(self) -> None:
        """Handle messages as they come, for ever."""
        assert self.kc is not None
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=None)
            self.subscribed = True
            async with self.printed.turn:
                number = _mark(message)
                if isinstance(number, int):
                    await self.printed.until_mark(number)
                await self._handle(message)
                self.printed.message_handled()

    async def quiet(self) -> None:
        """Wait until no message is on its way."""
        assert self.kc is not None
        while await self.kc.iopub_channel.msg_ready():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _handle(self, message: dict[str, Any]) -> None:
        type_, content = message["header"]["msg_type"], message["content"]
        parent = message["parent_header"].get("msg_id")
        if type_ == "status":
            if content["execution_state"] == "idle" and parent in self.idle:
                self.idle[parent].set()
            if self.here is None or "execution" not in self.here[0].metadata:
                return
        if not self.printed.started or self.here is None or type_ not in _SHOWN:
            return
        if type_ == "stream":
            await self.printed.take(content["name"], content["text"].encode("utf-8", "backslashreplace"))
            return
        await self._show(message, *self.here)

    async def _show(self, message: dict[str, Any], cell: NotebookNode, index: int, outputs: CellOutputs) -> None:
        type_, content = message["header"]["msg_type"], message["content"]
        elsewhere = bool(self.output_hook_stack.get(message["parent_header"].get("msg_id")))  # into an Output widget
        if type_ in ("display_data", "execute_result", "update_display_data"):
            if self._is_progress(content):
                return
            self.printed.begin_line()
        if type_ in ("display_data", "execute_result", "error") and not elsewhere:
            self._clear_if_asked(index, outputs)
        if type_ in ("display_data", "execute_result", "update_display_data"):
            content = {**content, "data": _valid(content["data"])}
            display_id = str((content.get("transient") or {}).get("display_id") or "")
            if not outputs.rich(_size(content), display_id, replaces=type_ == "update_display_data"):
                content = {**content, "data": _too_large(content["data"])}
            message = {**message, "content": content}
        with contextlib.suppress(CellExecutionComplete):
            self.process_message(message, cell, index)
        if type_ == "clear_output" and not content.get("wait") and not elsewhere:
            outputs.clear()
        if type_ in ("display_data", "execute_result"):
            await self._log.line(_text(content["data"]))
        elif type_ == "error":
            await self._log.line("\n".join(content["traceback"]) or f"{content['ename']}: {content['evalue']}")

    def _is_progress(self, content: dict[str, Any]) -> bool:
        data = content["data"].get(PROGRESS_TYPE)
        if isinstance(data, dict):
            self._progress(data)
        return PROGRESS_TYPE in content["data"]

    def _keep_text(self, name: str, data: bytes) -> None:
        """Bring what was printed into the outputs of the cell that runs."""
        if self.here is None:
            return
        cell, index, outputs = self.here
        if data:
            self._clear_if_asked(index, outputs)
        kept = outputs.stream(name, data)
        if kept is not None:
            add_stream(cell.outputs, *kept)

    def _clear_if_asked(self, index: int, outputs: CellOutputs) -> None:
        """Act on a ``clear_output(wait=True)``: something comes that takes the place of what was there."""
        if self.clear_before_next_output:
            outputs.clear()
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False


def _mark(message: dict[str, Any]) -> Any:
    """The number of the mark that stands before what this message shows, where there is one."""
    shown = message["content"].get("metadata")
    if isinstance(shown, dict) and "trainjob_mark" in shown:
        return shown.pop("trainjob_mark")
    return message["metadata"].get("trainjob_mark")


def _valid(data: dict[str, Any]) -> dict[str, Any]:
    """As a notebook may have it: displayed with ``raw=True``, a text may be anything that JSON has."""
    return {kind: value if _JSON.match(kind) or _is_text(value) else json.dumps(value) for kind, value in data.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _size(content: dict[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value)) for value in content["data"].values())


def _too_large(data: dict[str, Any]) -> dict[str, Any]:
    kinds = ", ".join(data)
    return {"text/plain": f"[an output ({kinds}) is left out here: the cell's outputs are too large to be saved]"}


def _text(data: dict[str, Any]) -> str:
    """For the log; of a picture where it is."""
    text = data.get("text/plain", f"<{', '.join(data)}>")
    shown = text if isinstance(text, str) else "".join(text)
    picture = any(kind.startswith("image/") for kind in data)
    return f"{shown} [in the executed notebook]" if picture else shown
