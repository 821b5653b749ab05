"""Who may look at code now: so many at once for a language, one at once for a person, and nobody waits long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

WAIT_SECONDS = 5.0


class Busy(Exception):
    """There was no place in time."""


class Turns:
    """One look at once for each person, whatever its language."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, person: str) -> asyncio.Lock:
        """Theirs; whoever waits for it or has it keeps it alive."""
        lock = self._locks.get(person)
        if lock is None:
            self._locks[person] = lock = asyncio.Lock()
        return lock


class Places:
    """``count`` threads for looks."""

    def __init__(self, count: int, name: str, turns: Turns, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._free = asyncio.Semaphore(count)
        self._turns = turns
        self._seconds = wait_seconds

    async def run(self, person: str, look: Callable[..., T], *arguments: Any) -> T:
        """``look(*arguments)`` in a thread. Raises :class:`Busy` when that can't begin in time.

        A look whose asker has gone keeps its place until it is done: its thread is not free before.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        turn = self._turns.of(person)
        await _acquire(turn.acquire(), until)
        try:
            await _acquire(self._free.acquire(), until)
        except BaseException:
            turn.release()
            raise

        def done(_: object) -> None:
            self._free.release()
            turn.release()

        future = loop.run_in_executor(self._pool, look, *arguments)
        future.add_done_callback(done)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Begin no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _acquire(acquiring: Any, until: float) -> None:
    try:
        await asyncio.wait_for(acquiring, max(0.001, until - asyncio.get_running_loop().time()))
    except asyncio.TimeoutError:
        raise Busy from None
