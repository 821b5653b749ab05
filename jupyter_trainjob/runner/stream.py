"""The pipe from the kernel: bytes with marks in it (see :mod:`.inkernel`), and the way out to the log."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import stat
import termios
from collections.abc import Iterator

READ_BYTES = 256 * 1024
_LONGEST = 24  # of what may follow the mark: "d", a number, ";"

_SWITCHES = {b"e": "stderr", b"o": "stdout", b"t": "told"}

Token = tuple[str, bytes | int]
"""``("stdout" | "stderr" | "told", bytes)`` or ``("mark", number)``; ``told`` is for :mod:`.told` only, not text."""


class Parser:
    """Tells text from marks, wherever reads cut them."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._rest = b""
        self._name = "stdout"

    def feed(self, data: bytes) -> Iterator[Token]:
        """The tokens of some more bytes; what may be the beginning of a mark waits for the next ones."""
        data = self._rest + data
        self._rest = b""
        position = 0
        while position < len(data):
            found = data.find(self._mark, position)
            if found < 0:
                keep = self._prefix_at_end(data, position)
                if keep > position:
                    yield self._name, data[position:keep]
                self._rest = data[keep:]
                return
            if found > position:
                yield self._name, data[position:found]
            behind = found + len(self._mark)
            kind = data[behind : behind + 1]
            if kind in _SWITCHES:
                self._name = _SWITCHES[kind]
                position = behind + 1
                continue
            end = data.find(b";", behind, behind + _LONGEST)
            if kind == b"d" and end > 0 and data[behind + 1 : end].isdigit():
                yield "mark", int(data[behind + 1 : end])
                position = end + 1
            elif len(data) - behind >= _LONGEST or (kind and kind != b"d"):
                yield self._name, data[found:behind]  # somebody printed our mark: then it is text
                position = behind
            else:
                self._rest = data[found:]
                return

    def end(self) -> Iterator[Token]:
        """What is left when nothing more comes."""
        if self._rest:
            yield self._name, self._rest
            self._rest = b""

    def _prefix_at_end(self, data: bytes, start: int) -> int:
        at = data.rfind(self._mark[:1], max(start, len(data) - len(self._mark) + 1))
        first = len(data)
        while at >= 0:
            if self._mark.startswith(data[at:]):
                first = at
            at = data.rfind(self._mark[:1], max(start, len(data) - len(self._mark) + 1), at)
        return first


class Pipe:
    """Our end of the kernel's output, without blocking."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False

    def read(self, limit: int = READ_BYTES) -> bytes:
        """What is there, or nothing."""
        try:
            data = os.read(self.fd, limit)
        except BlockingIOError:
            return b""
        if not data:
            self.ended = True
        return data

    def waiting(self) -> int:
        """How many bytes are there now."""
        count = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        return count[0]

    async def readable(self) -> None:
        """Wait until there is something to read, or the end."""
        await _ready(self.fd, writing=False)


class Log:
    """The runner's stdout. Waits where its reader is slower, without stopping the runner's other business."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._last = b"\n"
        mode = os.fstat(fd).st_mode
        self._waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        if self._waits:
            os.set_blocking(fd, False)

    async def write(self, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        if data:
            self._last = data[-1:]
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await _ready(self._fd, writing=True)

    async def line(self, text: str) -> None:
        """Write text on lines of its own."""
        start = "" if self._last == b"\n" else "\n"
        end = "" if text.endswith("\n") else "\n"
        await self.write(f"{start}{text}{end}".encode("utf-8", "backslashreplace"))


async def _ready(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(fd, wake)
    try:
        await future
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(fd)
