"""Attempts that are being prepared, as the event loop sees them: what may take minutes holds up nobody else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..base import AttemptRef, BackendError
from . import attempt
from .folder import Folder
from .prepare import CalledOff, Settings

log = logging.getLogger(__name__)

QUICK_AT_ONCE = 4
SLOW_AT_ONCE = 8
"""Of those that bring much, or from elsewhere; their threads mostly wait. More wait for their turn."""
TRIES = 6
"""So often bringing the inputs is tried, with growing pauses, where trying again may help."""
PAUSE_SECONDS = 30.0


class Preparations:
    """All of one backend's. Made and used on the event loop; ``done`` tells that one is over."""

    def __init__(self, name: str, done: Callable[[AttemptRef], None]) -> None:
        self._done = done
        self._tasks: dict[AttemptRef, asyncio.Task[None]] = {}
        self._called_off: dict[AttemptRef, asyncio.Event] = {}
        self._queues: dict[bool, deque[AttemptRef]] = {False: deque(), True: deque()}
        self._busy = {False: 0, True: 0}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(QUICK_AT_ONCE + SLOW_AT_ONCE, thread_name_prefix=f"backend-{name}-prepare")

    def begin(self, ref: AttemptRef, folder: Folder, settings: Settings, slow: bool) -> asyncio.Task[None]:
        """The task that prepares ``ref``, begun unless it is under way. It raises nothing: a failure is the end."""
        task = self._tasks.get(ref)
        if task is None:
            self._called_off[ref] = asyncio.Event()
            task = asyncio.create_task(self._run(ref, folder, settings, slow), name=f"prepare-{ref.name}")
            self._tasks[ref] = task
        return task

    def look(self, ref: AttemptRef) -> None:
        """It was cancelled or removed: it need not wait for its turn or its next try to find out."""
        event = self._called_off.get(ref)
        if event is not None:
            event.set()

    async def over(self, ref: AttemptRef) -> None:
        """Wait a moment until the removed ``ref`` is no longer prepared."""
        self.look(ref)
        task = self._tasks.get(ref)
        if task is not None:
            await asyncio.wait({task}, timeout=5)

    async def stop(self) -> None:
        """Leave off. The next start begins them anew."""
        self._stopping.set()
        for event in self._called_off.values():
            event.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=2)
            for task in late:  # its thread reads from what does not answer: it finds out when that does
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._pool.shutdown(wait=False)

    async def _run(self, ref: AttemptRef, folder: Folder, settings: Settings, slow: bool) -> None:
        try:
            await self._try(ref, folder, settings, slow)
        except Exception as error:  # such as a disk that is full for a moment: told, and looked at again by the poll
            log.warning("Attempt %s can't be prepared now, and will be tried again: %s", ref.name, error)
            await self._pause(ref, 5.0)
        finally:
            del self._tasks[ref], self._called_off[ref]
        if not self._stopping.is_set():
            self._done(ref)

    async def _try(self, ref: AttemptRef, folder: Folder, settings: Settings, slow: bool) -> None:
        for number in range(1, TRIES + 1):
            try:
                await self._in_turn(ref, slow, partial(attempt.prepare, folder, settings, self._stopping.is_set))
                return
            except CalledOff as why:
                if why.cancelled is not None:
                    await self._in_thread(attempt.call_off, folder, ref, why.cancelled)
                return
            except BackendError as error:
                if error.permanent or number == TRIES:
                    await self._in_thread(attempt.give_up, folder, ref, str(error))
                    return
                log.warning("Try %d to prepare %s failed: %s", number, ref.name, error)
            await self._pause(ref, min(PAUSE_SECONDS, 2.0 ** (number - 1)))

    async def _in_turn(self, ref: AttemptRef, slow: bool, work: Callable[[], None]) -> None:
        queue, most = self._queues[slow], SLOW_AT_ONCE if slow else QUICK_AT_ONCE
        queue.append(ref)
        try:
            while (self._busy[slow] >= most or queue[0] != ref) and not self._called_off[ref].is_set():
                await self._pause(ref, 0.05)
        finally:
            queue.remove(ref)
        self._busy[slow] += 1  # also one that was called off: it finds out at once
        try:
            await self._in_thread(work)
        finally:
            self._busy[slow] -= 1

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *arguments))

    async def _pause(self, ref: AttemptRef, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._called_off[ref].wait(), seconds)
        except asyncio.TimeoutError:
            return
