"""What the record keeps beside resources: blobs, leases, the scheduler's epoch."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from jupyter_trainjob.resources.errors import BadRequest
from jupyter_trainjob.store import BlobRow, EndedRow, LeaseRow, Store

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_blobs_are_each_owners_own(url: str) -> None:
    clock = Clock()
    with Store.open(url, clock) as store:
        store.write(lambda w: w.put_blob("ada", "sha256:aa", 10))
        store.write(lambda w: w.put_blob("ada", "sha256:bb", 5))
        store.write(lambda w: w.put_blob("bob", "sha256:aa", 7))
        assert store.read(lambda r: r.stored_bytes("ada")) == 15
        assert store.read(lambda r: r.stored_bytes("bob")) == 7
        assert store.read(lambda r: r.stored_bytes("eve")) == 0
        assert store.read(lambda r: r.blob("eve", "sha256:aa")) is None
        assert store.read(lambda r: r.blob("ada", "sha256:aa")) == BlobRow("ada", "sha256:aa", 10, NOON, NOON)
        clock.now += timedelta(days=1)
        store.write(lambda w: w.put_blob("ada", "sha256:aa", 10))
        assert store.read(lambda r: r.stored_bytes("ada")) == 15
        assert store.read(lambda r: r.blob("ada", "sha256:aa")) == BlobRow("ada", "sha256:aa", 10, NOON, clock.now)
        unused = store.read(lambda r: r.blobs_unused_since(NOON + timedelta(seconds=1)))
        assert {(blob.owner, blob.digest) for blob in unused} == {("ada", "sha256:bb"), ("bob", "sha256:aa")}
        store.write(lambda w: w.drop_blob("ada", "sha256:aa"))
        store.write(lambda w: w.drop_blob("ada", "sha256:aa"))
        assert store.read(lambda r: r.stored_bytes("ada")) == 5


def test_a_lease_is_held_by_one_until_it_runs_out(url: str) -> None:
    clock = Clock()
    with Store.open(url, clock) as store:
        assert store.read(lambda r: r.lease("scheduler")) is None
        assert store.write(lambda w: w.acquire_lease("scheduler", "a", 30))
        assert not store.write(lambda w: w.acquire_lease("scheduler", "b", 30))
        clock.now += timedelta(seconds=20)
        assert store.write(lambda w: w.acquire_lease("scheduler", "a", 30))
        clock.now += timedelta(seconds=29)
        assert not store.write(lambda w: w.acquire_lease("scheduler", "b", 30))
        clock.now += timedelta(seconds=1)
        assert store.write(lambda w: w.acquire_lease("scheduler", "b", 30))
        held = LeaseRow("scheduler", "b", clock.now + timedelta(seconds=30))
        assert store.read(lambda r: r.lease("scheduler")) == held
        store.write(lambda w: w.release_lease("scheduler", "a"))
        assert store.read(lambda r: r.lease("scheduler")) == held
        store.write(lambda w: w.release_lease("scheduler", "b"))
        assert store.read(lambda r: r.lease("scheduler")) is None
        assert store.write(lambda w: w.acquire_lease("other", "a", 30))


def test_the_epoch_moves_only_from_where_it_was_seen(store: Store) -> None:
    assert store.read(lambda r: r.scheduler_epoch()) == 0
    assert store.write(lambda w: w.advance_scheduler_epoch(0))
    assert not store.write(lambda w: w.advance_scheduler_epoch(0))
    assert store.write(lambda w: w.advance_scheduler_epoch())
    assert store.read(lambda r: r.scheduler_epoch()) == 2


def test_text_that_can_not_be_stored_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match="The digest"):
        store.write(lambda w: w.put_blob("ada", "\0", 1))
    with pytest.raises(BadRequest, match="The lease holder"):
        store.write(lambda w: w.acquire_lease("scheduler", "\0", 1))


def test_what_ended_attempts_held_is_noted_once_and_outlives_its_job(store: Store) -> None:
    row = EndedRow("u", 1, "q", "ada", "local", 1500, 2**33, 1, 1000.25, 1060.5, True)
    for noted in (row, row._replace(until=2000.0), row._replace(attempt=2, until=500.0, overtook=False)):
        store.write(lambda w, noted=noted: w.note_ended(noted))
    found = store.read(lambda r: sorted(r.ended(0.0)))
    assert found == [row, row._replace(attempt=2, until=500.0, overtook=False)]
    assert isinstance(found[0].overtook, bool)
    assert store.read(lambda r: list(r.ended(900.0))) == [row]
    assert store.write(lambda w: w.forget_ended(1000.0)) == 1
    assert store.read(lambda r: list(r.ended(0.0))) == [row]
