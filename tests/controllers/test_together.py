"""What many ask for at once is done in few turns, and whoever fails fails alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.controllers.together import Changes, Lookup, StoredBytes, Wanted
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store, Writer

from .conftest import make_job

pytestmark = pytest.mark.asyncio


def nothing(writer: Writer, job: TrainJob) -> None:
    return None


def jobs_in(store: Store, count: int) -> list[str]:
    return [store.write(lambda writer: writer.create(make_job("j"))).metadata.uid for _ in range(count)]


async def test_jobs_are_read_many_at_a_time(store: Store) -> None:
    uids = jobs_in(store, 20)
    begun = []
    sa.event.listen(store._engines.read, "begin", begun.append)
    lookup = Lookup(store)
    found = await asyncio.gather(*(lookup.ask(uid) for uid in [*uids, "none"]))
    assert [job.metadata.uid if job else "" for job in found] == [*uids, ""]
    assert len(begun) <= 2
    await lookup.close()


async def test_jobs_are_changed_many_at_a_time(store: Store) -> None:
    uids = jobs_in(store, 20)
    commits = []
    sa.event.listen(store._engines.write, "commit", commits.append)
    changes = Changes(store)

    def say(job: TrainJob) -> bool:
        job.status.message += "x"
        return job.metadata.uid != uids[3]

    asked = [*uids, uids[0], "none"]
    done = await asyncio.gather(*(changes.ask(Wanted(uid, say, nothing)) for uid in asked))
    assert [job is None for job in done] == [uid in (uids[3], "none") for uid in asked]
    assert len(commits) <= 2
    told = [store.read(lambda reader, uid=uid: reader.by_uid(TrainJob, uid)).status.message for uid in uids]  # type: ignore[misc]
    assert told == ["xx", "x", "x", "", *["x"] * 16]
    await changes.close()


async def test_who_fails_fails_alone(store: Store) -> None:
    uids = jobs_in(store, 3)
    changes = Changes(store)

    def say(job: TrainJob) -> bool:
        if job.metadata.uid == uids[1]:
            raise ValueError("not this one")
        job.status.message = "done"
        return True

    done = await asyncio.gather(*(changes.ask(Wanted(uid, say, nothing)) for uid in uids), return_exceptions=True)
    assert [type(one) for one in done] == [TrainJob, ValueError, TrainJob]
    told = [store.read(lambda reader, uid=uid: reader.by_uid(TrainJob, uid)).status.message for uid in uids]  # type: ignore[misc]
    assert told == ["done", "", "done"]
    await changes.close()


async def test_who_was_stopped_holds_nobody_up(store: Store) -> None:
    (uid,) = jobs_in(store, 1)
    lookup = Lookup(store)
    first = asyncio.ensure_future(lookup.ask(uid))
    second = asyncio.ensure_future(lookup.ask(uid))
    await asyncio.sleep(0)
    first.cancel()
    found = await second
    assert found is not None and first.cancelled()
    await lookup.close()


async def test_what_nobody_waits_for_any_more_is_not_written(store: Store) -> None:
    (uid,) = jobs_in(store, 1)
    changes = Changes(store)

    def say(job: TrainJob) -> bool:
        job.status.message = "late"
        return True

    asked = asyncio.ensure_future(changes.ask(Wanted(uid, say, nothing)))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.sleep(0)
    await changes.close()
    assert store.read(lambda reader: reader.by_uid(TrainJob, uid)).status.message == ""


async def test_how_much_attempts_left(tmp_path: Path) -> None:
    objects = FilesystemStore(tmp_path)
    objects.put("jobs/a/1/log.bytes", b"12345")
    measure = StoredBytes(objects, logging.getLogger("test"))
    assert await asyncio.gather(*(measure.ask(AttemptRef(uid, 1)) for uid in ("a", "b"))) == [5, 0]
    await measure.close()
