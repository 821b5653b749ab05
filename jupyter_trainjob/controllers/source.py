"""Snapshots for the admission pass and for explaining, from one shared cache of the record."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..backends.base import AttemptRef, Backend, BackendError, NodeCapacity, Place
from ..resources.quantity import format_bytes, format_cpu
from ..resources.queue import QueueUse
from ..resources.trainjob import Phase, TrainJob
from ..scheduling.decide import run
from ..scheduling.engine import Engine
from ..scheduling.explain import (
    Explanation,
    behind,
    explain_all,
    explain_elsewhere,
    explain_one,
    lacks_estimate,
    position_of,
)
from ..scheduling.model import NOTHING, Amount, Decision, NodeView, Policy, QueuedView, QueueView, SharedView, Snapshot
from ..store import ChangePage, Reader, Store
from .live import LiveEngine
from .means import default_backend
from .snapshot import RecordCache, is_of, queued_view

T = TypeVar("T")

CAPACITY_SECONDS = 10.0
OLD_SECONDS = 5.0
"""Estimates move with the clock: after so long all is computed anew, whatever did not change."""
CHEAP_SECONDS = 0.02
"""What takes no longer than this is computed for every version of the record."""


class Choice(NamedTuple):
    """A decision, the epoch of the record that it belongs to, and the queues as it saw them."""

    epoch: int
    decision: Decision
    queues: Mapping[str, QueueView]


class SnapshotSource:
    """Takes snapshots. One per server; safe to use from many tasks."""

    def __init__(self, store: Store, backends: Mapping[str, Backend], policy: Policy | None = None) -> None:
        self._store = store
        self._backends = backends
        self._cache = RecordCache(default_backend=default_backend(backends), policy=policy or Policy())
        self._lock = asyncio.Lock()
        self._nodes: tuple[NodeView, ...] = ()
        self._nodes_until = 0.0
        self._under_way: set[asyncio.Task[Any]] = set()

    async def take(self) -> tuple[Snapshot, int]:
        """The record's waiting and running jobs now, with the feed version they are of."""

        async def take() -> tuple[Snapshot, int]:
            nodes = await self._capacity()
            now = time.time()

            def look(reader: Reader) -> tuple[Snapshot, int]:
                self._cache.refresh(reader, now)
                return self._cache.snapshot(reader.scheduler_epoch(), nodes, now), self._cache.version

            return await self._store.aread(look)

        return await self._alone(take)

    async def decide(self, live: LiveEngine, now: float) -> Choice:
        """The decision at ``now`` (seconds of the epoch) for the record as it is, made by an engine that is kept."""

        async def take() -> tuple[int, Engine]:
            nodes = await self._capacity()

            def look(reader: Reader) -> int:
                self._cache.refresh(reader, now)
                return reader.scheduler_epoch()

            epoch = await self._store.aread(look)
            return epoch, await asyncio.to_thread(live.current, self._cache, nodes, now)

        epoch, engine = await self._alone(take)
        return Choice(epoch, await asyncio.to_thread(run, engine), dict(engine.views))

    async def _alone(self, take: Callable[[], Awaitable[T]]) -> T:
        """Do something with the cache, to its end: whoever asked may be cancelled, but a thread goes on, and until it
        is done nobody else may have the cache.
        """

        async def locked() -> T:
            async with self._lock:
                return await take()

        task = asyncio.ensure_future(locked())
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever asked; if that one is gone, to nobody

    async def changes(self, since: int) -> ChangePage:
        """What the feed tells after version ``since``. Nobody may change it: it is the cache's, too."""
        return await self._store.aread(lambda reader: reader.changes(since, known=self._cache.news))

    async def waiting_on(self, uid: str) -> list[str]:
        """Jobs with a dependency gate on ``uid``, as of the last snapshot."""
        async with self._lock:
            return sorted(self._cache.waiting_on.get(uid, ()))

    def room_changed(self) -> None:
        """The nodes are to be looked at anew."""
        self._nodes_until = 0.0

    async def places(self, jobs: Sequence[TrainJob]) -> dict[str, Place]:
        """Where those of ``jobs`` stand that something else admits, by uid, as their backends tell it."""
        refs: dict[str, list[AttemptRef]] = {}
        for job in jobs:
            attempt = job.status.live_attempt
            if attempt is not None:
                refs.setdefault(attempt.backend, []).append(AttemptRef(job.metadata.uid, attempt.number))
        found: dict[str, Place] = {}
        for name, wanted in refs.items():
            backend = self._backends.get(name)
            if backend is None:
                told = dict.fromkeys(wanted, Place(None, f"its backend {name!r} is not configured on this server"))
            else:
                try:
                    told = await backend.places(wanted)
                except BackendError as error:
                    told = dict.fromkeys(wanted, Place(None, f"the cluster can't be asked now: {error}".rstrip(".")))
            found |= {ref.uid: place for ref, place in told.items()}
        return found

    async def _capacity(self) -> tuple[NodeView, ...]:
        if time.monotonic() >= self._nodes_until:
            nodes, whole = [], []
            for name, backend in self._backends.items():
                nodes += [_node(name, node) for node in await backend.capacity()]
                whole += [_node(name, node) for node in await backend.sizes()]
            self._nodes = tuple(nodes)
            self._cache.weigh(tuple(whole), time.time())  # whatever others leave of them: our past is not theirs
            self._nodes_until = time.monotonic() + CAPACITY_SECONDS
        return self._nodes


def _node(backend: str, node: NodeCapacity) -> NodeView:
    size = Amount(0, node.cpu_millis, node.memory_bytes, node.gpu)
    each = Amount(0, node.per_job_cpu_millis, node.per_job_memory_bytes)
    shared = tuple(SharedView(one.limit, one.size, one.whole, one.called) for one in node.shared)
    return NodeView(backend, node.name, size, each, node.jobs, node.gpu_only, node.called, shared)


class Ranking:
    """Explains waiting to the API: computed on read, in a thread, once for all who ask at the same time.

    With thousands of waiting jobs an explanation of all takes a second, so it may be as old as ten times what it took
    (and five seconds at the most); a job that is newer than that is told its position alone.
    """

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._lock = asyncio.Lock()
        self._trials = asyncio.Lock()
        self._told: Mapping[str, Explanation] = {}
        self._version = -1
        self._fresh_until = 0.0
        self._old_at = 0.0

    async def explain(self, job: TrainJob) -> Explanation:
        """Why ``job`` waits; also for one that is not in the record (a dry run)."""
        if job.status.phase is not Phase.QUEUED:
            return Explanation()
        if job.metadata.uid:
            return (await self.explain_many([job]))[job.metadata.uid]
        async with self._trials:  # a form sends one for whatever is typed
            snapshot, version = await self._source.take()
            view, now = _view(job), time.time()
            found = await asyncio.to_thread(explain_one, snapshot, view, now)
            if not lacks_estimate(snapshot, view, found):
                return found
            return behind(snapshot, view, found, await self._all(snapshot, version), now)

    async def explain_many(self, jobs: Sequence[TrainJob]) -> dict[str, Explanation]:
        """Explanations of those of ``jobs`` that wait, by uid."""
        waiting = [job for job in jobs if job.status.phase is Phase.QUEUED]
        if not waiting:
            return {}
        handed = [job for job in waiting if job.status.live_attempt is not None]
        found = await self._elsewhere(handed) if handed else {}
        waiting = [job for job in waiting if job.metadata.uid not in found]
        if not waiting:
            return found
        snapshot, version = await self._source.take()
        told = await self._all(snapshot, version)
        for job in waiting:
            known = told.get(job.metadata.uid)
            found[job.metadata.uid] = known or Explanation(position_of(snapshot, _view(job)), "It has just queued.")
        return found

    async def _elsewhere(self, jobs: Sequence[TrainJob]) -> dict[str, Explanation]:
        places = await self._source.places(jobs)
        just = Place(None, "it has just been handed over")
        told = {job.metadata.uid: places.get(job.metadata.uid, just) for job in jobs}
        queues = {job.metadata.uid: job.spec.queue for job in jobs}
        return {uid: explain_elsewhere(queues[uid], place.position, place.message) for uid, place in told.items()}

    async def queue_uses(self, *owners: str | None) -> list[Mapping[str, QueueUse]]:
        """For each of ``owners`` (None: all of them together), what is in use in each queue and those below it."""
        snapshot, _ = await self._source.take()
        return await asyncio.to_thread(lambda: [uses(snapshot, owner) for owner in owners])

    async def _all(self, snapshot: Snapshot, version: int) -> Mapping[str, Explanation]:
        async with self._lock:
            began = time.monotonic()
            if began < self._fresh_until or (version == self._version and began < self._old_at):
                return self._told
            self._told = await asyncio.to_thread(explain_all, snapshot, time.time())
            now = time.monotonic()
            self._version = version
            self._old_at = now + OLD_SECONDS
            self._fresh_until = now + min(OLD_SECONDS, 10 * (now - began)) if now - began > CHEAP_SECONDS else 0.0
        return self._told


def _view(job: TrainJob) -> QueuedView:
    since = job.status.queued
    return queued_view(job, since.timestamp() if since else time.time())


def uses(snapshot: Snapshot, owner: str | None) -> dict[str, QueueUse]:
    """What is in use in each queue and those below it, by all owners (None) or by one: one look at every job."""
    paths = {name: _path(name, snapshot.queues) for name in snapshot.queues}
    total = dict.fromkeys(paths, NOTHING)
    waiting = dict.fromkeys(paths, 0)
    for active in snapshot.active:
        if owner is None or is_of(active.owner, owner):
            for name in paths.get(active.queue, ()):
                if active.waits:
                    waiting[name] += 1
                else:
                    total[name] += active.need
    mine = (job.queue for job in snapshot.queued if owner is None or is_of(job.owner, owner))
    for queue, count in Counter(mine).items():
        for name in paths.get(queue, ()):
            waiting[name] += count
    return {
        name: QueueUse(
            running_jobs=used.jobs,
            queued_jobs=waiting[name],
            cpu=format_cpu(used.cpu_millis),
            memory=format_bytes(used.memory_bytes),
            gpu=used.gpu,
        )
        for name, used in total.items()
    }


def _path(name: str, queues: Mapping[str, QueueView]) -> list[str]:
    found: list[str] = []
    while name in queues and name not in found:
        found.append(name)
        name = queues[name].parent
    return found
