"""Sweeps keep to what may run at once, retries wait, and a failed parent is explained in the child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jupyter_trainjob.controllers import gates, report, sweeps
from jupyter_trainjob.controllers.ending import Ending
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.resources.names import SWEEP_LABEL
from jupyter_trainjob.resources.trainjob import Attempt, Gate, Phase, Reason, Retries, Sweep, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import cancel, job_of, make_job, running, until, until_phase
from .instant import InstantBackend

Submit = Callable[..., TrainJob]


def make_sweep(store: Store, size: int, parallel: int, **spec: Any) -> list[str]:
    """As the API makes one."""
    spec = {"parameters": {"lr": '"type":"sweep"'}, **spec}
    uids = []
    for index in range(size):
        waits = [Gate(type="sweep", message="others run")] if index >= parallel else []
        sweep = Sweep(name="s-1", index=index, size=size, point=["lr"], max_parallel=parallel)
        job = make_job("s", sweep=sweep, scheduling_gates=waits, **spec)
        job.metadata.labels[SWEEP_LABEL] = "s-1"
        uids.append(store.write(lambda writer, job=job: writer.create(job)).metadata.uid)
    return uids


def make_points(store: Store, indexes: list[int], parallel: int) -> list[str]:
    """As a retry makes them."""
    uids = []
    for index in indexes:
        sweep = Sweep(name="s-1", index=index, size=9, point=["lr"], max_parallel=parallel)
        job = make_job("s", sweep=sweep, scheduling_gates=[Gate(type="sweep", message="its turn")])
        job.metadata.labels[SWEEP_LABEL] = "s-1"
        uids.append(store.write(lambda writer, job=job: writer.create(job)).metadata.uid)
    return uids


@pytest.mark.asyncio
async def test_points_go_on_as_others_end_and_never_too_many(store: Store, objects: FilesystemStore) -> None:
    uids = make_sweep(store, 7, 2)
    backend = InstantBackend(cpus=64, auto=False)
    async with running(store, objects, backend):
        for done in range(7):
            await until(lambda done=done: len(backend.created) == min(7, done + 2))
            assert len([one for one in backend.known.values() if one.state == "running"]) <= 2
            ref = next(ref for ref, seen in backend.known.items() if seen.state == "running")
            if done == 3:
                cancel(store, ref.uid)
            else:
                backend.finish(ref, "error" if done == 2 else "ok")
        await until(lambda: all(job_of(store, uid).status.phase.final for uid in uids))
    assert all(abs(uids.index(ref.uid) - place) <= 1 for place, ref in enumerate(backend.created)), "in their turn"
    assert len(backend.created) == 7


@pytest.mark.asyncio
async def test_a_server_that_was_killed_between_an_end_and_the_next_point(
    store: Store, objects: FilesystemStore
) -> None:
    uids = make_sweep(store, 3, 1)

    def end(writer: object) -> None:
        job = job_of(store, uids[0])
        report.end(job, Phase.SUCCEEDED, Reason.COMPLETED, "", utc_now())
        writer.update(job, check=False)  # type: ignore[attr-defined]

    store.write(end)
    async with running(store, objects, InstantBackend()):
        for uid in uids[1:]:
            await until_phase(store, uid, Phase.SUCCEEDED)


@pytest.mark.asyncio
async def test_points_that_come_one_after_another_start_while_there_is_room(
    store: Store, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As points that are retried: each behind a gate, however many may run."""
    monkeypatch.setattr(sweeps, "LOOK_SECONDS", 3600.0)
    backend = InstantBackend(cpus=64, auto=False)
    async with running(store, objects, backend):
        for count in range(1, 4):
            (point,) = make_points(store, [count], 3)
            await until_phase(store, point, Phase.RUNNING)
        (last,) = make_points(store, [4], 3)
        await asyncio.sleep(0.3)
        assert job_of(store, last).spec.scheduling_gates, "three are three"
        backend.finish(backend.created[0])
        await until_phase(store, last, Phase.RUNNING)


@pytest.mark.asyncio
async def test_a_point_that_no_look_has_seen_has_another_made(
    store: Store, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server's clock is behind, or its write came late: what it sends seems to be older than the look."""
    monkeypatch.setattr(sweeps, "LOOK_SECONDS", 0.5)
    backend = InstantBackend(cpus=64, auto=False)
    async with running(store, objects, backend):
        (first,) = make_points(store, [0], 3)
        await until_phase(store, first, Phase.RUNNING)
        monkeypatch.setattr(store, "_clock", lambda: utc_now() - timedelta(seconds=60))
        late = make_points(store, [1, 2], 3)
        for uid in late:
            await until_phase(store, uid, Phase.RUNNING)


def test_of_many_points_that_wait_one_looks_for_all() -> None:
    jobs = [make_job(sweep=Sweep(name="s-1", index=index, size=3, point=["lr"], max_parallel=1)) for index in range(3)]
    for index, job in enumerate(jobs):
        job.metadata.uid, job.metadata.creation_timestamp = f"u{index}", utc_now()
    looks = sweeps.Looks()
    assert looks.due(jobs[0], 100.0)
    looks.note(jobs[0], 100.0, utc_now())
    assert not any(looks.due(job, 105.0) for job in jobs)
    assert [looks.comes_back(job, 105.0) for job in (*jobs, jobs[0])] == [15.0, None, None, 15.0]
    assert looks.due(jobs[0], 120.0)
    looks.note(jobs[1], 110.0, utc_now())
    assert looks.comes_back(jobs[2], 111.0) == 19.0, "who was to come back may have gone on"
    jobs[0].metadata.creation_timestamp = utc_now()
    assert looks.due(jobs[0], 111.0), "it was not there"
    assert looks.due(make_job(owner="bob", sweep=jobs[0].spec.sweep), 111.0), "another's of that name"


def test_a_text_that_looks_like_a_gate_is_none(store: Store) -> None:
    for spec in ({}, {"parameters": {"one": {"type": "sweep"}}}):
        uids = make_sweep(store, 3, 3, **spec)
        job = job_of(store, uids[0])
        assert store.write(lambda writer, job=job: sweeps.settle(writer, job, utc_now())) == []
        for uid in uids:
            cancel(store, uid)
            store.write(lambda writer, uid=uid: writer.remove(writer.by_uid(TrainJob, uid)))


def test_tries_wait_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [report.backoff(spent) for spent in (1, 2, 3, 4)] == [5.0, 10.0, 20.0, 40.0]
    assert report.backoff(60) == 600.0


def lost(job: TrainJob, reason: Reason = Reason.NODE_LOST) -> None:
    job.status.attempts.append(Attempt(number=len(job.status.attempts) + 1, admitted=utc_now(), start=utc_now()))
    report.finish(job, Ending(Phase.FAILED, reason, "gone"), None, utc_now())


def test_what_is_not_the_users_fault_waits_at_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    job = make_job(retries=Retries(limit=2))
    lost(job)
    assert (job.status.phase, job.status.reason) == (Phase.QUEUED, "Retrying")
    assert job.status.message == "Attempt 1 ended with NodeLost; it queues for another in 5 s."
    (gate,) = job.spec.scheduling_gates
    assert gate.type == "retry" and gate.until is not None
    assert not gates.let_retry(job, gate.until - timedelta(seconds=1))
    assert gates.let_retry(job, gate.until)
    assert job.status.queued == gate.until
    lost(job)
    assert job.status.message.endswith("in 10 s.")
    job.spec.scheduling_gates = []
    lost(job)
    assert job.status.phase is Phase.FAILED, "two retries are two"


def test_an_error_of_the_code_is_tried_again_only_where_that_was_asked_for() -> None:
    job = make_job(retries=Retries(limit=2))
    lost(job, Reason.CODE_ERROR)
    assert job.status.phase is Phase.FAILED
    asked = make_job(retries=Retries(limit=2, on_code_error=True))
    lost(asked, Reason.CODE_ERROR)
    assert asked.status.phase is Phase.QUEUED


def test_a_failed_parent_is_explained_in_the_child(store: Store) -> None:
    parent = make_job("parent")
    report.end(parent, Phase.FAILED, Reason.CODE_ERROR, "ValueError: no such column\nmore", utc_now())
    uid = store.write(lambda writer: writer.create(parent)).metadata.uid
    job = make_job("child", scheduling_gates=[Gate(type="dependency", job=uid)])
    child = store.write(lambda writer: writer.create(job)).metadata.uid
    assert store.write(lambda writer: gates.settle(writer, child, utc_now()))
    assert not store.write(lambda writer: gates.settle(writer, child, utc_now()))
    ended = job_of(store, child).status
    name = job_of(store, uid).metadata.name
    assert (ended.phase, ended.reason) == (Phase.FAILED, "DependencyFailed")
    assert ended.message == (
        f"It waits until {name} has succeeded, but that job has ended as Failed (CodeError): "
        "ValueError: no such column."
    )
