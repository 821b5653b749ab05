"""Room that was lent is taken back: the borrower's job ends, queues again, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Limits, Queue, QueueSpec
from jupyter_trainjob.resources.trainjob import Phase, Reason, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import cancel, job_of, running, until, until_phase
from .instant import InstantBackend

Submit = Callable[..., TrainJob]


@pytest.fixture
def lab(store: Store) -> None:
    """``lab`` has 2 CPUs, one guaranteed to each of ``left`` and ``right``."""

    def make(writer: Any) -> None:
        specs = {"lab": QueueSpec(limits=Limits(cpu="2"))}
        for name in ("left", "right"):
            specs[name] = QueueSpec(parent="lab", guaranteed=Limits(cpu="1"), reclaim=True)
        for name, spec in specs.items():
            writer.create(Queue(metadata=ObjectMeta(name=name, owner="o"), spec=spec))

    store.write(make)


@pytest.mark.asyncio
async def test_the_youngest_borrower_makes_room_and_runs_again_later(
    store: Store, objects: FilesystemStore, submit: Submit, lab: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        old = submit("old", queue="left", preemptible=True).metadata.uid
        await until_phase(store, old, Phase.RUNNING)
        young = submit("young", queue="left", preemptible=True)
        await until_phase(store, young.metadata.uid, Phase.RUNNING)
        owed = submit("owed", owner="bob", queue="right").metadata.uid
        await until_phase(store, owed, Phase.RUNNING)
        back = job_of(store, young.metadata.uid)
        assert back.status.phase is Phase.QUEUED
        assert back.status.reason == "Preempted"
        assert back.status.message == "Attempt 1 made room for others; it queues again, in its old place."
        (attempt,) = back.status.attempts
        assert attempt.reason is Reason.PREEMPTED
        assert attempt.message == (
            "It made room: queue right takes back what is guaranteed to it, and queue left had borrowed."
        )
        (condition,) = (one for one in back.status.conditions if one.type == "Preempted")
        assert (condition.status, condition.reason) == ("True", "Reclaimed")
        assert back.status.queued == young.status.queued, "it keeps its place"
        assert job_of(store, old).status.phase is Phase.RUNNING
        assert "makes room: queue right takes back" in caplog.text
        assert "ended: Failed (Preempted), and queues again" in caplog.text
        backend.finish(next(ref for ref in backend.known if ref.uid == owed))
        again = await until_phase(store, young.metadata.uid, Phase.RUNNING)
        (condition,) = (one for one in again.status.conditions if one.type == "Preempted")
        assert condition.status == "False"
        assert len(again.status.attempts) == 2
        for ref in list(backend.known):
            backend.finish(ref)
        await until_phase(store, young.metadata.uid, Phase.SUCCEEDED)


@pytest.mark.asyncio
async def test_who_made_room_does_not_take_it_again_by_its_priority(
    store: Store, objects: FilesystemStore, submit: Submit, lab: None
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        loans = [submit(f"j{n}", queue="left", preemptible=True, priority=5).metadata.uid for n in range(2)]
        for uid in loans:
            await until_phase(store, uid, Phase.RUNNING)
        owed = submit("owed", owner="bob", queue="right", priority=-5).metadata.uid
        job = await until_phase(store, owed, Phase.RUNNING)
        assert job.status.claimed is None, "it has what it claimed"
        attempts = [len(job_of(store, uid).status.attempts) for uid in loans]
        assert sorted(attempts) == [1, 1], "one of them made room, once"


@pytest.mark.asyncio
async def test_who_is_not_preemptible_keeps_what_it_borrowed(
    store: Store, objects: FilesystemStore, submit: Submit, lab: None
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend) as manager:
        uids = [submit(f"j{n}", queue="left").metadata.uid for n in range(2)]
        for uid in uids:
            await until_phase(store, uid, Phase.RUNNING)
        owed = submit("owed", owner="bob", queue="right")
        why = (await manager.ranking.explain(owed)).waiting_for
        assert why.startswith("Queue lab allows 2 CPUs and its jobs use 2")
        assert backend.cancelled == []
        for ref in list(backend.known):
            backend.finish(ref)
        await until_phase(store, owed.metadata.uid, Phase.RUNNING)


@pytest.mark.asyncio
async def test_a_cancel_while_it_makes_room_is_its_end(
    store: Store, objects: FilesystemStore, submit: Submit, lab: None
) -> None:
    class Slow(InstantBackend):
        async def cancel(self, ref: Any, message: str) -> None:
            if ref not in self.cancelled:
                self.cancelled.append(ref)

    backend = Slow(auto=False)
    async with running(store, objects, backend):
        uids = [submit(f"j{n}", queue="left", preemptible=True).metadata.uid for n in range(2)]
        for uid in uids:
            await until_phase(store, uid, Phase.RUNNING)
        submit("owed", owner="bob", queue="right")
        await until(lambda: backend.cancelled != [])
        victim = backend.cancelled[0]
        cancel(store, victim.uid, "enough")
        backend.finish(victim, "interrupted", {"cancelled": "enough", "signal": 15})
        job = await until_phase(store, victim.uid, Phase.CANCELLED)
        assert job.status.message == "Cancelled by ada: enough"
        assert job.status.attempts[0].reason is Reason.CANCELLED_BY_USER


@pytest.mark.asyncio
async def test_code_that_ends_well_before_it_is_stopped_has_succeeded(
    store: Store, objects: FilesystemStore, submit: Submit, lab: None
) -> None:
    class Late(InstantBackend):
        async def cancel(self, ref: Any, message: str) -> None:
            self.finish(ref, "ok", {"cancelled": message, "exitCode": 0})

    async with running(store, objects, Late(auto=False)):
        uids = [submit(f"j{n}", queue="left", preemptible=True).metadata.uid for n in range(2)]
        for uid in uids:
            await until_phase(store, uid, Phase.RUNNING)
        submit("owed", owner="bob", queue="right")
        await until(lambda: any(job_of(store, uid).status.phase is Phase.SUCCEEDED for uid in uids))
