"""The engine that is kept decides as one made anew from the record, whatever happens to the record; usage outlives
jobs and servers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef, NodeCapacity
from jupyter_trainjob.controllers import snapshot
from jupyter_trainjob.controllers.admission import AdmissionController
from jupyter_trainjob.controllers.live import LiveEngine
from jupyter_trainjob.controllers.snapshot import WEIGH_SECONDS, RecordCache
from jupyter_trainjob.controllers.source import SnapshotSource
from jupyter_trainjob.resources.queue import Budget, Limits
from jupyter_trainjob.resources.trainjob import Phase, PodSet, Resources, TrainJob
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.model import Amount, NodeView
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Reader, Store

from .conftest import job_of, limit_queue, running, until_phase
from .instant import InstantBackend
from .world import World

Submit = Callable[..., TrainJob]
GIB = 2**30


def test_what_is_kept_follows_the_record_step_by_step(store: Store) -> None:
    world = World(store)
    world.queue("lab", guaranteed=Limits(cpu="2"), budget=Budget(core_hours=0.2, window_seconds=600))
    world.queue("own", parent="lab", per_user=Limits(running_jobs=2))
    uids = [world.submit(owner, queue=queue) for queue in ("own", "default") for owner in ("ada", "bob", "ada", "ada")]
    running_jobs: list[str] = []
    for step in range(30):
        world.later(20 + step)
        running_jobs += [one.uid for one in world.decide().admissions]
        assert running_jobs or step > 8
        if step == 3:
            uids.append(world.submit("eve", queue="own", priority=-1))
        if step == 4:
            world.change(uids[-1], lambda job: setattr(job.spec, "priority", 0))
        if running_jobs and step % 2:
            world.begin(running_jobs[0])
            world.later(3)
            world.decide()
        if running_jobs and step % 3 == 0:
            world.end(running_jobs.pop(0))
    assert world.live.built == 1, "it was never made anew"
    assert len(world.cache.ledger.used) >= 2


def test_another_queue_is_a_reason_to_look_at_everything(store: Store) -> None:
    world = World(store)
    world.submit("ada")
    world.decide()
    world.queue("other")
    world.submit("bob", queue="other")
    assert len(world.decide().admissions) == 1
    assert world.live.built == 2


def test_usage_outlives_the_job_and_the_server(store: Store) -> None:
    world = World(store)
    world.queue("default", limits=Limits(running_jobs=1))
    first = world.submit("ada")
    world.decide()
    world.later(600)
    world.end(first)
    store.write(lambda writer: writer.remove(writer.by_uid(TrainJob, first)))
    world.submit("ada")
    world.later(1)
    bobs = world.submit("bob")
    restarted = World(store)
    restarted.now = world.now
    (admission,) = restarted.decide().admissions
    assert admission.uid == bobs, "ada used ten minutes, and deleting the job does not change that"


def test_more_changes_than_are_kept_are_looked_at_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_trainjob.controllers.snapshot.MAX_TOLD", 3)
    world = World(store)
    world.decide()
    for _ in range(6):
        world.submit("ada")
    assert len(world.decide().admissions) == 4
    assert world.live.built == 2


@pytest.mark.asyncio
async def test_a_pass_that_came_too_late_leaves_nothing_behind(
    store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SnapshotSource(store, {"local": InstantBackend()})
    admission = AdmissionController(store, source, lambda: datetime.now(timezone.utc), logging.getLogger("test"))
    limit_queue(store, running_jobs=1)
    uid = submit().metadata.uid
    decide_then = source.decide

    async def decide_too_late(*args: Any) -> Any:
        choice = await decide_then(*args)
        limit_queue(store, running_jobs=0)
        return choice

    monkeypatch.setattr(source, "decide", decide_too_late)
    assert await admission.reconcile() == 0.0
    monkeypatch.undo()
    assert await admission.reconcile() is None
    assert job_of(store, uid).status.phase is Phase.QUEUED
    limit_queue(store, running_jobs=1)
    await admission.reconcile()
    assert job_of(store, uid).status.phase is Phase.ADMITTED


@pytest.mark.asyncio
async def test_a_pass_that_is_cut_off_leaves_nothing_behind(
    store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server leads no more while the decision is made, and leads again: what was not recorded did not start."""
    source = SnapshotSource(store, {"local": InstantBackend()})
    admission = AdmissionController(store, source, lambda: datetime.now(timezone.utc), logging.getLogger("test"))
    limit_queue(store, running_jobs=1)
    first = submit().metadata.uid
    decide_then = source.decide

    async def decide_and_resign(*args: Any) -> Any:
        await decide_then(*args)
        raise asyncio.CancelledError

    monkeypatch.setattr(source, "decide", decide_and_resign)
    with pytest.raises(asyncio.CancelledError):
        await admission.reconcile()
    monkeypatch.undo()
    await admission.reconcile()
    assert job_of(store, first).status.phase is Phase.ADMITTED


def test_changes_that_could_not_be_followed_are_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(store)
    world.submit("ada")
    world.decide()
    world.submit("bob")

    def broken(*args: Any) -> bool:
        raise MemoryError

    monkeypatch.setattr("jupyter_trainjob.controllers.live._follow", broken)
    with pytest.raises(MemoryError):
        world.decide()
    monkeypatch.undo()
    assert len(world.decide().admissions) == 1


def test_a_budget_is_of_the_window_in_which_the_job_was_admitted(store: Store) -> None:
    """An image takes its time: what was checked against one window is not spent in the next."""
    world = World(store)
    world.queue("default", budget=Budget(core_hours=0.02, window_seconds=3600))
    world.later(3590)
    first = world.submit("ada")
    assert len(world.decide().admissions) == 1
    world.later(15)
    second = world.submit("bob")
    assert [one.uid for one in world.decide().admissions] == [second], "the next window has begun"
    world.later(5)
    world.begin(first)
    world.later(1)
    third = world.submit("eve")
    assert world.decide().admissions == (), f"{third} has nothing left to spend"
    (active,) = (one for one in world.anew().active if one.uid == first)
    assert active.begun - active.since == 20.0
    world.later(4000)
    world.end(first)
    (row,) = store.read(lambda reader: list(reader.ended(0.0)))
    assert row.until - row.since == 60.0, "no more than its time limit is the user's"


@pytest.mark.asyncio
async def test_what_an_attempt_used_is_recorded_with_its_end(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    async with running(store, objects, InstantBackend()):
        uid = submit(cpu="2").metadata.uid
        job = await until_phase(store, uid, Phase.SUCCEEDED)
    attempt = job.status.attempts[0]
    assert attempt.start and attempt.end
    (row,) = store.read(lambda reader: list(reader.ended(0.0)))
    assert (row.uid, row.attempt, row.owner, row.cpu_millis) == (uid, 1, "ada", 2000)
    assert attempt.admitted
    assert (row.since, row.until) == (attempt.admitted.timestamp(), attempt.end.timestamp())


@pytest.mark.asyncio
async def test_a_gang_starts_whole_and_its_places_are_recorded(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    class TwoNodes(InstantBackend):
        async def capacity(self) -> list[NodeCapacity]:
            return [NodeCapacity(name, 4000, 64 * 2**30) for name in ("one", "two")]

    backend = TwoNodes(auto=False)
    async with running(store, objects, backend) as manager:
        first = submit("first", cpu="1").metadata.uid
        await until_phase(store, first, Phase.RUNNING)
        gang = [PodSet(name="main", count=2, resources=Resources(cpu="4"))]
        second = submit("gang", pod_sets=gang)
        told = await manager.ranking.explain(second)
        assert told.waiting_for.startswith(
            "Its 2 pods of 4 CPUs do not fit on the nodes one by one, which have 7 CPUs free together"
        )
        assert job_of(store, second.metadata.uid).status.phase is Phase.QUEUED
        backend.finish(next(iter(backend.known)))
        job = await until_phase(store, second.metadata.uid, Phase.RUNNING)
        places = job.status.attempts[0].places
        assert sorted((place.pod_set, place.node) for place in places) == [("main", "one"), ("main", "two")]
        third = submit("third", cpu="1")
        assert (await manager.ranking.explain(third)).position == 1
        backend.finish(AttemptRef(second.metadata.uid, 1))
        await until_phase(store, third.metadata.uid, Phase.RUNNING)


def test_what_changes_little_of_a_queue_counts_nothing_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """To sum up months of usage takes seconds in which nothing starts: only another tree or budget needs it."""
    world = World(store)
    world.queue("lab")
    world.decide()
    asked: list[float] = []
    ended = Reader.ended

    def count(self: Reader, since: float) -> Any:
        asked.append(world.now.timestamp() - since)
        return ended(self, since)

    monkeypatch.setattr(Reader, "ended", count)
    world.queue("lab", admission="Paused")
    world.refresh(world.cache)
    assert asked == []
    assert not world.cache.queues["lab"].open
    world.queue("lab", budget=Budget(core_hours=1, window_seconds=86400))
    world.refresh(world.cache)
    world.queue("lab", budget=Budget(core_hours=1, window_seconds=366 * 86400))
    world.refresh(world.cache)
    assert [round(back / 86400) for back in asked] == [140, 366], "as far back as anything counts"


def test_usage_is_weighed_by_the_nodes_there_are_whenever_it_was_counted(store: Store) -> None:
    """A server that starts while the cluster does not answer charges the past as one that started before."""
    dear = (NodeView("local", "here", Amount(0, 64_000, 8 * 2**30)),)
    world = World(store)
    first = world.submit("ada")
    world.decide()
    world.later(600)
    world.end(first)
    for nodes, recounted in (((), False), (dear, True), ((), False), (dear, False)):
        world.cache.weigh(nodes, world.now.timestamp())
        assert world.cache._recount is recounted
        world.refresh(world.cache)
    fresh = RecordCache(default_backend="local")
    fresh.weigh(dear, world.now.timestamp())
    world.refresh(fresh)
    assert world.cache.ledger.used == fresh.ledger.used
    (used,) = fresh.ledger.used.values()
    assert used % 8000 == 0, "a GiB is an eighth of the memory, and worth an eighth of 64 CPUs"
    more = (replace(dear[0], size=dear[0].size + Amount(0, 1000)),)
    world.later(10 * WEIGH_SECONDS)
    world.cache.weigh(more, world.now.timestamp())
    assert not world.cache._recount, "a node that has grown by a CPU is no reason to sum up a year"


def test_windows_of_budgets_that_are_over_are_forgotten(store: Store) -> None:
    """A window may be a minute, and a server runs for months."""
    world = World(store)
    each = Budget(core_hours=1, window_seconds=60)
    world.queue("lab", budget=each, per_user_budget=each)
    for number in range(4):
        uid = world.submit(f"user{number}", queue="lab")
        world.decide()
        world.later(50)
        world.end(uid)
        world.refresh(world.cache)
        assert list(world.cache.ledger.spent.values()) == [50_000, 50_000]
        world.later(70)
    world.refresh(world.cache)
    assert not world.cache.ledger.spent
    world.decide()


class Shared(InstantBackend):
    """A backend whose nodes others use, too, and that may fall silent."""

    def __init__(self, *nodes: NodeCapacity) -> None:
        super().__init__()
        self.nodes, self.free = list(nodes), list(nodes)

    async def capacity(self) -> list[NodeCapacity]:
        return self.free

    async def sizes(self) -> list[NodeCapacity]:
        return self.nodes


@pytest.mark.asyncio
async def test_what_others_use_and_who_is_silent_weighs_nothing_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To others' pods the past of ours is no business; and months of it are read with all who ask waiting."""
    asked: list[float] = []
    ended = Reader.ended

    def count(self: Reader, since: float) -> Any:
        asked.append(since)
        return ended(self, since)

    monkeypatch.setattr(Reader, "ended", count)
    cluster = Shared(NodeCapacity("big", 64_000, 256 * GIB, 4))
    source = SnapshotSource(store, {"local": Shared(NodeCapacity("here", 8000, 16 * GIB)), "cluster": cluster})

    async def look() -> tuple[float, float]:
        source.room_changed()
        seen, _ = await source.take()
        weights = Engine(seen).weights
        assert source._cache.weights == weights, "what runs is charged as what is past"
        return weights.gpu, weights.memory

    first = await look()
    assert first == (72_000 / 4, 72_000 / (272 * GIB))
    (node,) = cluster.nodes
    for free in ([replace(node, gpu=0)], [replace(node, cpu_millis=16_000)], [], [node]):
        cluster.free = free
        assert await look() == first
    cluster.nodes = cluster.free = []
    assert await look() == first
    cluster.nodes = [node, replace(node, name="new", gpu=0)]
    assert await look() == first, "so soon after the last time"
    assert len(asked) == 1
    monkeypatch.setattr(snapshot, "WEIGH_SECONDS", 0.0)
    assert (await look())[0] == 136_000 / 4
    assert len(asked) == 2
    cluster.nodes = [replace(node, gpu=0)]
    assert (await look())[0] == 136_000 / 4, "a GPU that is gone for a while was no CPU"


@pytest.mark.asyncio
async def test_a_look_that_was_cancelled_ends_before_the_next_begins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that leads no more is still asked things: two threads in one cache would charge an end twice."""
    inside = most = 0
    begun, go_on = threading.Event(), threading.Event()
    refresh = RecordCache.refresh

    def slow(self: RecordCache, reader: Reader, now: float) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        begun.set()
        go_on.wait(10)
        refresh(self, reader, now)
        inside -= 1

    monkeypatch.setattr(RecordCache, "refresh", slow)
    source = SnapshotSource(store, {"local": InstantBackend()})
    for ask in (source.take, lambda: source.decide(LiveEngine(), 1000.0)):
        begun.clear()
        go_on.clear()
        first = asyncio.create_task(ask())  # type: ignore[arg-type]
        await asyncio.to_thread(begun.wait, 10)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(source.take())
        await asyncio.sleep(0.2)
        assert not second.done()
        go_on.set()
        await second
    assert (inside, most) == (0, 1)
