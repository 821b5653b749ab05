"""A work queue: duplicates merge, one worker a key at a time, delayed and backed-off re-adds.

The semantics are those of client-go's ``workqueue`` (https://pkg.go.dev/k8s.io/client-go/util/workqueue).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from ..resources import mishaps

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_MOST_SECONDS = 30.0


class WorkQueue(Generic[K]):
    """Runs ``handle(key)`` for every key that was added, at most one at a time for each key.

    A key added while it is handled is handled once more afterwards. ``handle`` returns after how many seconds it
    wants to come back, or None. Where it raises, the error is logged and the key comes back with a growing delay.
    """

    def __init__(
        self,
        handle: Callable[[K], Awaitable[float | None]],
        log: logging.Logger,
        workers: int = 8,
        failed: Callable[[K, Exception], None] | None = None,
    ) -> None:
        self._handle = handle
        self._log = log
        self._workers = workers
        self._failed = failed or (lambda key, error: None)
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers on the running loop."""
        self._tasks = [asyncio.create_task(self._work(), name=f"workqueue-{n}") for n in range(self._workers)]

    async def stop(self) -> None:
        """Drop what waits and let the steps under way come to their next await, cancelled."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                self._log.error("a worker ended with an error", exc_info=result)
        self._tasks = []

    def add(self, key: K) -> None:
        """Handle ``key`` soon."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Handle ``key`` after ``seconds``, or sooner if it was to come sooner or is added meanwhile."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._waiting or key in self._again:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self.add, key)

    def failures(self, key: K) -> int:
        """How often in a row ``key`` failed."""
        return self._failures.get(key, 0)

    def __len__(self) -> int:
        """Keys that are ready or under way."""
        return len(self._waiting) + len(self._running)

    async def _work(self) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key = self._ready.popleft()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                await self._step(key)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _step(self, key: K) -> None:
        try:
            again = await self._handle(key)
        except Exception as error:  # the loop must outlive any one key; the error is told and the key comes back
            count = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(count - 1, 20))
            delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
            mishaps.tell(self._log, f"{key} failed ({count} in a row), again in {delay:.1f} s", error)
            self._failed(key, error)
            self._running.discard(key)
            self.add_after(key, delay)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self._running.discard(key)
                self.add_after(key, again)
