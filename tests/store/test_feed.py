"""The feed: what it tells, where it ends, and waiting for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.errors import BadRequest, Expired, Unavailable
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Store
from jupyter_trainjob.store.watching import Watcher

from .making import job, queue


@pytest.fixture
def other(url: str, store: Store) -> Iterator[Store]:
    """A second Store on the same database, as another server has it."""
    with Store.open(url) as opened:
        yield opened


def _life(store: Store) -> None:
    """Versions 1 to 5."""
    made = store.write(lambda w: w.create(job("one")))
    made.status.phase = Phase.RUNNING
    made = store.write(lambda w: w.update(made))
    store.write(lambda w: w.create(queue("small")))
    store.write(lambda w: w.create(job("two", namespace="lab", owner="bob")))
    store.write(lambda w: w.remove(made))


def test_tells_every_change_once_and_in_order(store: Store) -> None:
    _life(store)
    page = store.read(lambda r: r.changes(0))
    assert page.version == 5 == store.read(lambda r: r.version())
    assert [(change.version, change.type, change.resource.kind) for change in page.changes] == [
        (1, "ADDED", "TrainJob"),
        (2, "MODIFIED", "TrainJob"),
        (3, "ADDED", "Queue"),
        (4, "ADDED", "TrainJob"),
        (5, "DELETED", "TrainJob"),
    ]
    assert [change.resource.metadata.resource_version for change in page.changes] == ["1", "2", "3", "4", "5"]
    phases = [change.resource.status.phase for change in page.changes if change.resource.metadata.name == "one"]
    assert phases == [Phase.QUEUED, Phase.RUNNING, Phase.RUNNING]
    assert store.read(lambda r: r.changes(5)).changes == []


@pytest.mark.parametrize(
    ("filters", "versions"),
    [
        ({"namespaces": ["ada"]}, [1, 2, 5]),
        ({"namespaces": ["lab", ""]}, [3, 4]),
        ({"namespaces": []}, []),
        ({"owner": "bob"}, [4]),
        ({"kinds": ["Queue"]}, [3]),
        ({"kinds": ["TrainJob"], "owner": "ada"}, [1, 2, 5]),
    ],
)
def test_filters_and_moves_on_past_what_they_leave_out(
    store: Store, filters: dict[str, Any], versions: list[int]
) -> None:
    _life(store)
    page = store.read(lambda r: r.changes(0, **filters))
    assert [change.version for change in page.changes] == versions
    assert page.version == 5


def test_pages_continue_where_they_ended(store: Store) -> None:
    _life(store)
    since, seen = 0, []
    for _ in range(4):
        page = store.read(lambda r, since=since: r.changes(since, limit=2))
        seen += [change.version for change in page.changes]
        since = page.version
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(BadRequest, match=r"The limit 0 is less than 1\."):
        store.read(lambda r: r.changes(0, limit=0))


def test_what_was_pruned_is_expired_and_says_what_to_do(store: Store) -> None:
    _life(store)
    store.write(lambda w: w.prune_changes(2))
    assert [change.version for change in store.read(lambda r: r.changes(3)).changes] == [4, 5]
    with pytest.raises(Expired) as expired:
        store.read(lambda r: r.changes(2))
    assert expired.value.code == 410
    assert str(expired.value) == (
        "The changes after version 2 can't be told: the feed goes back to 3. "
        "List again and follow the feed from the list's resourceVersion."
    )
    assert expired.value.data == {"oldest": 3, "newest": 5}
    store.write(lambda w: w.prune_changes(100))
    assert store.read(lambda r: r.changes(3)).version == 5
    store.write(lambda w: w.prune_changes(0))
    assert store.read(lambda r: r.changes(5)).changes == []
    with pytest.raises(Expired):
        store.read(lambda r: r.changes(4))


def test_prune_also_keeps_the_feed_small_in_bytes(store: Store) -> None:
    for number in range(6):
        store.write(lambda w, number=number: w.create(job(f"j-{number}", code="x" * 10_000)))
    store.write(lambda w: w.prune_changes(100, keep_bytes=100_000))
    assert len(store.read(lambda r: r.changes(0)).changes) == 6
    store.write(lambda w: w.prune_changes(100, keep_bytes=25_000))
    assert [change.version for change in store.read(lambda r: r.changes(3)).changes] == [4, 5, 6]
    with pytest.raises(Expired):
        store.read(lambda r: r.changes(2))


@pytest.mark.parametrize("since", [6, 10**30, -1])
def test_a_version_that_never_was_is_expired(store: Store, since: int) -> None:
    _life(store)
    with pytest.raises(Expired, match="can't be told: the feed"):
        store.read(lambda r: r.changes(since))


def test_wait_answers_at_once_when_the_feed_is_beyond(store: Store) -> None:
    _life(store)
    began = time.monotonic()
    assert store.wait(0, 10) and store.wait(4, 10)
    assert time.monotonic() - began < 1
    assert not store.wait(5, 0.1)


def test_a_write_here_wakes_those_who_wait_here(store: Store) -> None:
    took: list[float] = []

    def wait() -> None:
        assert store.wait(0, 10)
        took.append(time.monotonic())

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    store.write(lambda w: w.create(job("one")))
    wrote = time.monotonic()
    for thread in threads:
        thread.join()
    assert max(took) - wrote < 0.2


def test_a_write_elsewhere_wakes_those_who_wait_here(store: Store, other: Store) -> None:
    for version in range(3):
        threading.Timer(0.3, lambda: other.write(lambda w: w.create(job()))).start()
        began = time.monotonic()
        assert store.wait(version, 10)
        assert 0.2 < time.monotonic() - began < 1.5
    assert not store.wait(3, 0.3)
    other.write(lambda w: w.create(job()))  # nobody waits here
    began = time.monotonic()
    assert store.wait(3, 10)
    assert time.monotonic() - began < 1


def test_reading_or_a_lease_is_no_change(store: Store) -> None:
    store.write(lambda w: w.acquire_lease("scheduler", "me", 30))
    store.write(lambda w: w.advance_scheduler_epoch(0))
    store.write(lambda w: w.put_blob("ada", "sha256:00", 1))
    assert not store.wait(0, 0.3)


def test_close_answers_those_who_wait_and_then_refuses(store: Store) -> None:
    threading.Timer(0.2, store.close).start()
    assert not store.wait(0, 30)
    for call in (
        lambda: store.read(lambda r: r.version()),
        lambda: store.write(lambda w: w.version()),
        lambda: store.wait(0, 1),
    ):
        with pytest.raises(Unavailable, match=r"The record is closed: the server is stopping\."):
            call()
    store.close()


@pytest.mark.asyncio
async def test_the_async_faces_leave_the_loop_free(store: Store, other: Store) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    def slow(reader: Any) -> int:
        time.sleep(0.3)
        return int(reader.version())

    ticking = asyncio.create_task(tick())
    assert await store.awrite(slow) == 0
    assert await store.aread(slow) == 0
    assert not await store.await_change(0, 0.2)
    waiting = [asyncio.create_task(store.await_change(0, 10)) for _ in range(100)]
    await asyncio.sleep(0.2)
    await other.awrite(lambda w: w.create(job("one")))
    assert all(await asyncio.gather(*waiting))
    made = await store.aread(lambda r: r.get(TrainJob, "ada", "one"))
    assert made.metadata.resource_version == "1"
    ticking.cancel()
    assert ticks > 50


@pytest.mark.asyncio
async def test_cancelling_the_wait_does_not_undo_the_write(store: Store) -> None:
    started = threading.Event()

    def slow(writer: Any) -> None:
        started.set()
        time.sleep(0.2)
        writer.create(job("one"))

    task = asyncio.create_task(store.awrite(slow))
    assert await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting = asyncio.create_task(store.await_change(0, 10))
    assert await waiting
    abandoned = asyncio.create_task(store.await_change(1, 10))
    await asyncio.sleep(0.1)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    assert store._watcher._waiting == {}


def test_an_idle_watch_costs_next_to_nothing(store: Store) -> None:
    store.wait(0, 0.1)
    time.sleep(0.6)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.02


def test_everything_goes_on_after_the_connections_were_lost(
    postgresql: str, postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"lost-{uuid4().hex}"
    url = sa.make_url(postgresql_url).update_query_dict({"application_name": name}).render_as_string(False)
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    kill = sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name")
    with Store.open(url) as store, Store.open(url) as other:
        assert not store.wait(0, 0.2)
        with admin.connect() as connection:
            assert connection.execute(kill, {"name": name}).scalar_one() >= 3
        timer = threading.Timer(0.5, lambda: other.write(lambda w: w.create(job("one"))))
        timer.start()
        assert store.wait(0, 10)
        timer.join()
        assert store.read(lambda r: r.version()) == 1
        assert "The feed can't be watched now, trying again" in caplog.text


class Lost:
    """A connection that is gone: all fails, closing it as well."""

    def version(self) -> int:
        raise OSError("the database is away")

    def pause(self) -> None:
        return None

    def close(self) -> None:
        raise OSError("there is nothing to close")


def test_a_connection_that_can_not_be_closed_is_told_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    opened: list[Lost] = []

    def open_source() -> Lost:
        opened.append(Lost())
        return opened[-1]

    watcher = Watcher(open_source, retry_seconds=0.01)
    watcher.add(0, lambda moved: None)
    deadline = time.monotonic() + 5
    while len(opened) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    watcher.close()
    assert len(opened) >= 3
    told = {(record.levelname, record.getMessage()) for record in caplog.records}
    assert ("WARNING", "The feed's connection did not close cleanly: there is nothing to close") in told
