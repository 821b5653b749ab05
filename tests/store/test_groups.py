"""Writes that wait at the same time share a transaction; whoever fails, fails alone."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa

from jupyter_trainjob.resources.errors import AlreadyExists, Conflict
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store, Writer

from .making import job

pytestmark = pytest.mark.asyncio


def hold(store: Store) -> threading.Event:
    """The writer thread is busy until the event is set."""
    busy, free = threading.Event(), threading.Event()

    def wait(writer: Writer) -> None:
        busy.set()
        free.wait(30)

    store._submit_write(wait)
    assert busy.wait(30)
    return free


async def test_many_writes_are_few_commits_in_the_order_they_came(store: Store) -> None:
    commits = []
    sa.event.listen(store._engines.write, "commit", commits.append)
    free = hold(store)
    writes = [asyncio.ensure_future(store.awrite(lambda w, n=n: w.create(job(f"j{n}")))) for n in range(40)]
    await asyncio.sleep(0)
    free.set()
    made = await asyncio.gather(*writes)
    versions = [int(one.metadata.resource_version) for one in made]
    assert versions == sorted(versions) and len(set(versions)) == 40
    assert len(commits) <= 3
    page = store.read(lambda reader: reader.changes(0))
    assert [change.resource.metadata.name for change in page.changes] == [f"j{n}" for n in range(40)]


async def test_who_fails_fails_alone(store: Store) -> None:
    store.write(lambda w: w.create(job("taken")))
    free = hold(store)
    names = ["a", "taken", "b"]
    writes = [asyncio.ensure_future(store.awrite(lambda w, name=name: w.create(job(name)))) for name in names]
    await asyncio.sleep(0)
    free.set()
    made = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in made] == [TrainJob, AlreadyExists, TrainJob]
    assert store.read(lambda reader: reader.count(TrainJob)) == 3


async def test_what_waits_is_written_when_the_record_is_closed(url: str) -> None:
    store = Store.open(url)
    free = hold(store)
    writes = [store._submit_write(lambda w, n=n: w.create(job(f"j{n}"))) for n in range(5)]
    closing = asyncio.get_running_loop().run_in_executor(None, store.close)
    free.set()
    await closing
    assert [one.result(1).metadata.name for one in writes] == [f"j{n}" for n in range(5)]


async def test_who_refuses_before_writing_anything_is_no_trouble_to_the_others(store: Store) -> None:
    """A client that cancels what has ended must not make its neighbours' writes happen twice."""
    stale = store.write(lambda w: w.create(job("stale")))
    store.write(lambda w: w.update(w.by_uid(TrainJob, stale.metadata.uid).model_copy(deep=True), check=False))
    changed = stale.model_copy(deep=True)
    changed.metadata.labels["a"] = "1"
    store.write(lambda w: w.update(changed))
    commits: list[object] = []
    sa.event.listen(store._engines.write, "commit", commits.append)
    free = hold(store)
    times: list[str] = []

    def create(writer: Writer, name: str) -> TrainJob:
        times.append(name)
        return writer.create(job(name))

    def refuse(writer: Writer) -> TrainJob:
        return writer.update(changed)  # of a version that is no longer

    def half(writer: Writer) -> None:
        writer.create(job("half"))
        raise Conflict("It changed its mind.")

    writes = [asyncio.ensure_future(store.awrite(lambda w, n=n: create(w, f"j{n}"))) for n in range(10)]
    writes.insert(5, asyncio.ensure_future(store.awrite(refuse)))
    await asyncio.sleep(0)
    free.set()
    made = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in made] == [*[TrainJob] * 5, Conflict, *[TrainJob] * 5]
    assert times == [f"j{n}" for n in range(10)] and len(commits) == 2, "the one that waited, and all of these"
    free = hold(store)
    both = [
        asyncio.ensure_future(store.awrite(lambda w: w.create(job("whole")))),
        asyncio.ensure_future(store.awrite(half)),
    ]
    await asyncio.sleep(0)
    free.set()
    assert [type(one) for one in await asyncio.gather(*both, return_exceptions=True)] == [TrainJob, Conflict]
    names = {one.metadata.name for one in store.read(lambda reader: reader.list(TrainJob, limit=100)).items}
    assert "whole" in names and "half" not in names
