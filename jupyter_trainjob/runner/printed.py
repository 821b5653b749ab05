"""What a kernel prints, on its way to the log and into the cells' outputs, in order with what its messages show."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from .stream import Log, Parser, Pipe, Token
from .told import Lines, Point, Points, Progress

HOLD_SECONDS = 5.0
"""How long text waits for a displayed object that stands before it but does not come."""
PART_SECONDS = 0.3
"""How long the beginning of what may be a line for us (see :mod:`.told`) waits for the rest."""


class Printed:
    """Reads the pipe ``output`` that the kernel's stdout and stderr write into. Marks in it wait for their messages.

    Text goes to ``log``, then to ``keep(stream, data)``; lines for us go to ``points`` and ``progress`` instead. What
    comes before ``started`` is kept in ``early`` (its last 16 KiB) and goes nowhere else.

    All that changes the order of things holds ``turn``: the pump of this text and whoever handles a message. But for
    :meth:`pump`, each method is for its holder.
    """

    def __init__(
        self,
        output: int,
        mark: bytes,
        log: Log,
        points: Points,
        progress: Callable[[dict[str, Any]], None],
        keep: Callable[[str, bytes], None],
    ) -> None:
        self.turn = asyncio.Lock()
        self.started = False
        self.early = bytearray()
        self._pipe, self._parser = Pipe(output), Parser(mark)
        self._log, self._points, self._progress, self._keep = log, points, progress, keep
        self._lines, self._told = Lines(), Lines()
        self._tokens: list[Token] = []
        self._reached = self._released = 0
        self._free = asyncio.Event()
        self._pointless = False  # whether the log says that points are lost

    # From the pipe

    async def pump(self) -> None:
        """Bring out text as it comes, until the pipe ends."""
        while not self._pipe.ended:
            await self._readable()
            async with self.turn:
                await self._advance(self._pipe.read())
            deadline = time.monotonic() + HOLD_SECONDS
            while self._held:
                self._free.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._free.wait(), max(0.0, deadline - time.monotonic()))
                async with self.turn:
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
                async with self.turn:
                    await self.release(short=True)
        await self._pipe.readable()

    @property
    def _held(self) -> bool:
        return bool(self._tokens) and self._reached > self._released

    async def _advance(self, data: bytes) -> None:
        self._tokens.extend(self._parser.feed(data))
        while self._tokens and self._reached <= self._released:
            await self._take_token(self._tokens.pop(0))

    async def until_mark(self, number: int) -> None:
        """Bring out what was printed before the message ``number``."""
        self._released = max(self._released, number - 1)
        await self._advance(b"")
        while self._reached < number and (data := self._pipe.read()):
            await self._advance(data)
        self._released = max(self._released, number)

    def message_handled(self) -> None:
        """Text that waited for a message may look again whether it has come."""
        self._free.set()

    async def drain(self) -> None:
        """Bring out all that is in the pipe at this moment, up to a mark whose message has not come."""
        await self._advance(b"")
        left = self._pipe.waiting()
        while left > 0 and (data := self._pipe.read(left)):
            left -= len(data)
            await self._advance(data)

    async def end(self) -> None:
        """Bring out all that is left: no message is waited for any more."""
        self._released = 1 << 62
        await self.drain()
        for token in self._parser.end():
            await self._take_token(token)
        await self.release()

    # To the log and the cell

    async def _take_token(self, token: Token) -> None:
        name, data = token
        if isinstance(data, int):
            await self.release(short=True)
            self._reached = max(self._reached, data)
            return
        await self.take(name, data)

    async def take(self, name: str, data: bytes) -> None:
        """Bring out text of the stream ``name`` (``stdout``, ``stderr``, or ``told``: for us only), wherever from."""
        if not self.started:
            self.early += data
            del self.early[:-16384]
            return
        if name == "stderr":
            await self.release(short=True)
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

    def begin_line(self) -> None:
        """What comes next stands at the beginning of a line, whatever stood before it."""
        self._lines.begin_line()

    async def release(self, *, short: bool = False) -> None:
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
        self._keep(name, data)
