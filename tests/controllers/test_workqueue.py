"""The work queue: merging, one worker a key, delays, back-off."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from jupyter_trainjob.controllers import workqueue
from jupyter_trainjob.controllers.workqueue import WorkQueue

LOG = logging.getLogger("test")


@asynccontextmanager
async def queue_of(handle: Callable[[str], Awaitable[float | None]]) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(handle, LOG, workers=4)
    queue.start()
    try:
        yield queue
    finally:
        await queue.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5) if hasattr(asyncio, "timeout") else _deadline(5):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(seconds, task.cancel)
    try:
        yield
    finally:
        handle.cancel()


@pytest.mark.asyncio
async def test_duplicates_merge_while_they_wait() -> None:
    seen: list[str] = []

    async def handle(key: str) -> None:
        seen.append(key)

    async with queue_of(handle) as queue:
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        await until(lambda: len(queue) == 0)
    assert sorted(seen) == ["a", "b"]


@pytest.mark.asyncio
async def test_a_key_is_never_handled_twice_at_once_and_not_lost_while_handled() -> None:
    running: set[str] = set()
    count = 0
    go = asyncio.Event()

    async def handle(key: str) -> None:
        nonlocal count
        assert key not in running
        running.add(key)
        count += 1
        await go.wait()
        running.discard(key)

    async with queue_of(handle) as queue:
        queue.add("a")
        await until(lambda: count == 1)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(0.02)
        assert count == 1
        go.set()
        await until(lambda: count == 2 and len(queue) == 0)
        await asyncio.sleep(0.02)
        assert count == 2


@pytest.mark.asyncio
async def test_what_asks_to_come_back_comes_back() -> None:
    times: list[float] = []

    async def handle(key: str) -> float | None:
        times.append(asyncio.get_running_loop().time())
        return 0.05 if len(times) < 3 else None

    async with queue_of(handle) as queue:
        queue.add("a")
        await until(lambda: len(times) == 3)
    assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))


@pytest.mark.asyncio
async def test_adding_now_beats_a_delay() -> None:
    seen = asyncio.Event()

    async def handle(key: str) -> None:
        seen.set()

    async with queue_of(handle) as queue:
        queue.add_after("a", 60)
        queue.add("a")
        await asyncio.wait_for(seen.wait(), 2)


@pytest.mark.asyncio
async def test_a_failing_key_backs_off_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workqueue, "BACKOFF_FIRST_SECONDS", 0.01)
    seen: list[str] = []

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "bad" and seen.count("bad") < 4:
            raise OSError("the disk is away")

    async with queue_of(handle) as queue:
        queue.add("bad")
        queue.add("good")
        await until(lambda: seen.count("bad") == 4 and seen.count("good") == 1)
        await until(lambda: queue.failures("bad") == 0)
    assert "bad failed (3 in a row)" in caplog.text
    assert "the disk is away" in caplog.text
