"""One reader for many followers: nothing is lost, nothing comes twice, nothing piles up for those who are slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from jupyter_trainjob.api import fanout as module
from jupyter_trainjob.api.fanout import Fanout
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.errors import Unavailable
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.store import ChangePage, Reader, Store

from .conftest import Caller, Server, Submit
from .test_changes import message, names, stream

pytestmark = pytest.mark.asyncio


def write(store: Store, name: str) -> None:
    store.write(lambda writer: writer.create(Queue(metadata=ObjectMeta(name=name, owner="olga"))))


@pytest_asyncio.fixture
async def fanout(store: Store) -> AsyncIterator[Fanout]:
    made = Fanout(store)
    await made.wait(10**9, 0.2)
    yield made
    made.close()


async def follow(fanout: Fanout, store: Store, since: int, until: str, pause: float = 0.0) -> list[str]:
    """Names in the order in which they came, as the feed follows: from what is shared, else from the record."""
    found: list[str] = []
    while until not in found:
        shared = fanout.since(since, 7)
        if shared is not None:
            changes: list[Any] = list(shared[0])
            version = shared[1]
        else:
            page = await store.aread(partial(_page, since))
            changes, version = list(page.changes), page.version
        found += [change.resource.metadata.name for change in changes]
        if version == since:
            await fanout.wait(since, 5)
        since = version
        await asyncio.sleep(pause)
    return found


def _page(since: int, reader: Reader) -> ChangePage:
    return reader.changes(since, limit=7)


async def test_whoever_joins_wherever_gets_each_change_once_and_in_order(
    fanout: Fanout, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 10)
    everything = [f"q-{number}" for number in range(120)]
    for name in everything[:20]:
        await asyncio.to_thread(write, store, name)
    start = store.read(lambda reader: reader.version()) - 20
    followers = []
    chance = random.Random(7)
    for name in everything[20:]:
        if chance.random() < 0.3:
            missed = chance.randrange(len(everything[: everything.index(name)]) + 1)
            pause = chance.choice((0.0, 0.0, 0.03))
            followers.append((missed, asyncio.create_task(follow(fanout, store, start + missed, "q-119", pause))))
        await asyncio.to_thread(write, store, name)
    assert len(followers) > 20
    for missed, task in followers:
        assert await asyncio.wait_for(task, 20) == everything[missed:]


async def caught_up(fanout: Fanout, version: int) -> None:
    """A wait may end early: something has come, if not all."""
    for _ in range(60):
        if fanout._version >= version:
            return
        await fanout.wait(version - 1, 1)
    raise AssertionError(f"the feed is at {fanout._version}, not at {version}")


async def test_no_more_is_kept_than_the_bounds_however_slow_a_follower_is(
    fanout: Fanout, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 6)
    start = store.read(lambda reader: reader.version())
    for number in range(30):
        write(store, f"q-{number}")
    await caught_up(fanout, start + 30)
    assert len(fanout._kept) == 6
    assert fanout.since(start, 100) is None, "the record tells what came before"
    kept = fanout.since(start + 24, 100)
    assert kept is not None
    assert [change.resource.metadata.name for change in kept[0]] == [f"q-{number}" for number in range(24, 30)]
    monkeypatch.setattr(module, "MAX_CHARACTERS", 1)
    write(store, "long")
    await caught_up(fanout, start + 31)
    assert fanout._kept == []
    assert fanout.since(start + 30, 100) is None
    assert fanout.since(start + 31, 100) == ([], start + 31)


async def test_a_record_that_fails_wakes_all_and_is_followed_again(
    fanout: Fanout, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = store.read(lambda reader: reader.version())
    waiting = asyncio.create_task(fanout.wait(version, 30))
    await asyncio.sleep(0.05)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("The record is away.")

    with monkeypatch.context() as broken:
        broken.setattr(Reader, "changes", away)
        write(store, "one")
        await asyncio.wait_for(waiting, 5)
        assert fanout.since(version, 10) is None, "who waits asks the record itself, and is told why"
    assert await asyncio.wait_for(follow(fanout, store, version, "one"), 5) == ["one"]


async def test_many_streams_cost_one_reader(
    alice: Caller, server: Server, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    changes = Reader.changes

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return changes(*args, **options)

    url = server.url.replace("http", "ws", 1) + "/changes/stream"
    mine = HTTPRequest(url, headers={"Authorization": "token token-alice"})
    async with stream(server, "olga") as operator, stream(server, "bob") as none:
        others = [await websocket_connect(mine) for _ in range(20)]
        connections = [operator, *others]
        for connection in (*connections, none):
            await message(connection)
        await asyncio.sleep(0.3)
        monkeypatch.setattr(Reader, "changes", counted)
        for number in range(3):
            await submit(alice, name=f"n{number}", environment={"env": [{"name": "K", "value": "very-secret"}]})
            for connection in connections:
                page = await message(connection)
                assert names(page) == [("ADDED", f"n{number}")]
                whole = connection is not operator
                assert ("very-secret" in str(page)) is whole
            await asyncio.sleep(0.3)
        assert reads <= 8, "two for each change: it, and that there is no more"
        for other in others:
            other.close()
        await asyncio.sleep(0.2)
