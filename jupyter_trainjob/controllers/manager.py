"""Runs the controllers of one server: elects, follows the feed, feeds the work queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from ..backends.base import AttemptRef, Backend, BackendError, KernelInfo, NodeCapacity
from ..resources import mishaps
from ..resources.errors import Expired, FieldError, NotFound
from ..resources.profile import Profile
from ..resources.queue import Kueue, Queue
from ..resources.trainjob import TrainJob
from ..scheduling.model import Policy
from ..storage.base import ObjectStore
from ..store import Change, Filter, Reader, Store
from .admission import AdmissionController
from .environments import EnvironmentController
from .leader import LeaderElection
from .means import Means, default_backend
from .metrics import BackendCollector, ControllerMetrics
from .retention import Retention, RetentionController
from .snapshot import LIVE
from .source import Ranking, SnapshotSource
from .trainjob import TrainJobController
from .uploads import UploadRetention
from .workqueue import WorkQueue

SCHEDULE = "schedule"
FEED_WAIT_SECONDS = 10.0
RESYNC_SECONDS = 60.0
RETENTION_SECONDS = 300.0
WORKERS = 32
"""Jobs that are looked after at once. A step waits nearly all of its time: a job in a cluster takes some fifteen
requests to the API server and the store. Where each takes 200 ms, eight workers begin and end three jobs a second.
"""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(timezone.utc)


class ControllerManager:
    """Everything that acts on its own in a server. ``ranking`` is there on followers too."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        backends: Mapping[str, Backend],
        *,
        retention: Retention | None = None,
        policy: Policy | None = None,
        clock: Callable[[], datetime] = utc_now,
        registry: CollectorRegistry | None = None,
        log: logging.Logger,
    ) -> None:
        self._metrics = ControllerMetrics(registry)
        if registry is not None:
            registry.register(BackendCollector(backends))
        self._store = store
        self._objects = objects
        self._backends = backends
        self._clock = clock
        self._log = log
        self._source = SnapshotSource(store, backends, policy)
        self.ranking = Ranking(self._source)
        means = Means(store, objects, backends, clock, log)
        self._environments = EnvironmentController(means)
        self._jobs = TrainJobController(means, self._metrics, self._environments)
        self._admission = AdmissionController(store, self._source, clock, log, self._metrics)
        rules = retention or Retention()
        self._retention = RetentionController(store, rules)
        self._uploads = UploadRetention(store, objects, rules.unused_upload_days) if rules.unused_upload_days else None
        self._queue: WorkQueue[str] | None = None
        self._started: list[Backend] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._election = LeaderElection(store, self._lead, self._follow_only, log)

    @property
    def leading(self) -> bool:
        """Whether this server runs the controllers."""
        return self._election.leading

    async def start(self) -> None:
        """Start the backends, then act if no other server does."""
        record = await self._store.awrite(lambda writer: writer.record_id())
        for backend in self._backends.values():
            backend.serves(record)
            backend.on_room(self._room_changed)
            await backend.start(self._objects, self._changed)
            self._started.append(backend)
        await self._election.start()

    async def stop(self) -> None:
        """Stop acting. Running attempts go on by themselves."""
        try:
            await self._election.stop()
        finally:
            for backend in self._started:
                await backend.stop()
            self._started = []

    def sandboxes(self) -> list[str]:
        """One line a backend: how strongly it keeps jobs apart."""
        told = [(name, backend.describe()) for name, backend in self._backends.items()]
        return [
            f"backend {name}: jobs run in a sandbox of level {about['isolation']!r}"
            if about.get("isolation")
            else f"backend {name}: of type {about.get('type', '')!r}"
            for name, about in told
        ]

    async def homeless_queues(self) -> list[str]:
        """A warning for each queue whose backend is not configured here: its jobs would wait for ever."""
        queues = await self._store.aread(lambda reader: reader.list(Queue, limit=1000).items)
        there = ", ".join(self.backend_names) or "none"
        return [
            f"queue {queue.metadata.name}: its backend {queue.spec.backend!r} is not in TrainJobExtension.backends "
            f"(there are: {there}), so that its jobs wait for ever; add it, or change the queue's spec.backend"
            for queue in queues
            if self.backend_of(queue.spec.backend) not in self._backends
        ]

    def warnings(self) -> list[str]:
        """What an operator should know of the backends, such as a weak sandbox."""
        return [
            f"backend {name}: {text}"
            for name, backend in self._backends.items()
            for text in backend.describe().get("warnings", [])
        ]

    @property
    def backend_names(self) -> list[str]:
        """The backends that are configured here."""
        return sorted(self._backends)

    def backend_of(self, named: str) -> str:
        """The backend of a queue that names ``named``, which may be empty."""
        return named or default_backend(self._backends)

    async def kernels(self, backend: str) -> list[KernelInfo] | None:
        """The kernels of a backend; None where it isn't configured here."""
        known = self._backends.get(backend)
        return await known.kernels() if known is not None else None

    def offers(self, backend: str) -> frozenset[str]:
        """What jobs may choose on a backend; nothing where it isn't configured here."""
        known = self._backends.get(backend)
        return known.offers() if known is not None else frozenset()

    async def check_job(self, backend: str, job: TrainJob, profile: Profile) -> list[FieldError]:
        """What of a job's image and volumes a backend can't give; nothing where it isn't known here."""
        known = self._backends.get(backend)
        return await known.check(job, profile) if known is not None else []

    async def check_requirements(self, backend: str, format: str, text: str) -> None:
        """Raises :class:`BackendError` for a list that the backend never builds; nothing where it isn't known here."""
        known = self._backends.get(backend)
        if known is not None:
            await known.check_requirements(format, text)

    async def capacity(self, backend: str) -> list[NodeCapacity]:
        """The nodes of a backend at their best; none where it isn't configured here, or where that can't be told."""
        known = self._backends.get(backend)
        return await known.sizes() if known is not None else []

    async def check_kueue(self, backend: str, kueue: Kueue) -> None:
        """Raises :class:`BackendError` where jobs of a queue that says so would wait for ever, or nobody can tell."""
        known = self._backends.get(backend)
        if known is not None:
            await known.check_kueue(kueue.local_queue, [one.name for one in kueue.priority_classes])

    async def check(self) -> dict[str, Any]:
        """A line for ``/readyz``: whether the controllers run here, and on what."""
        # Anybody may ask for readiness: no more than the kinds of the backends is told.
        backends = {name: str(backend.describe().get("type", "")) for name, backend in self._backends.items()}
        word = "run here" if self.leading else "run in another server"
        return {"ok": True, "message": f"The controllers {word}.", "leading": self.leading, "backends": backends}

    async def standing(self) -> dict[str, int]:
        """How many jobs run and wait now, for the words at shutdown."""
        snapshot, _ = await self._source.take()
        waiting = sum(active.waits for active in snapshot.active)
        return {"running": len(snapshot.active) - waiting, "queued": len(snapshot.queued) + waiting}

    def _changed(self, ref: AttemptRef) -> None:
        if self._queue is not None:
            self._queue.add(ref.uid)

    def _room_changed(self) -> None:
        self._source.room_changed()
        if self._queue is not None:
            self._queue.add(SCHEDULE)

    async def _lead(self) -> None:
        version = await self._store.aread(lambda reader: reader.version())
        self._queue = WorkQueue(
            self._reconcile, self._log, workers=WORKERS, failed=lambda key, error: self._metrics.failures.inc()
        )
        self._metrics.leading.set(1)
        self._queue.start()
        self._tasks = [
            asyncio.create_task(self._follow_feed(version), name="trainjob-feed"),
            asyncio.create_task(self._resync(), name="trainjob-resync"),
            asyncio.create_task(self._retain(), name="trainjob-retention"),
        ]

    async def _follow_only(self) -> None:
        self._metrics.leading.set(0)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if self._queue is not None:
            await self._queue.stop()
            self._queue = None
            await self._jobs.stop()
        for backend in self._backends.values():  # behind the last step, which may ask for more
            backend.keep_warm(None)

    async def _reconcile(self, key: str) -> float | None:
        if key == SCHEDULE:
            return await self._admission.reconcile()
        return await self._jobs.reconcile(key)

    async def _follow_feed(self, version: int) -> None:
        """Every change wakes its job; changes that free or ask for room wake the scheduler."""
        expired = False
        while True:
            try:
                if expired:
                    version = await self._store.aread(lambda reader: reader.version())
                    await self._enqueue_all()
                    expired = False
                page = await self._source.changes(version)
                version = page.version
                for change in page.changes:
                    await self._wake(change)
                if not page.changes:
                    await self._store.await_change(version, FEED_WAIT_SECONDS)
            except Expired:
                expired = True
            except Exception as error:  # the record may be away for a while: told, and tried again
                mishaps.tell(self._log, "the feed of the record could not be read", error)
                await asyncio.sleep(1.0)

    async def _wake(self, change: Change) -> None:
        queue = self._queue
        if queue is None:
            return
        if isinstance(change.resource, TrainJob):
            uid = change.resource.metadata.uid
            if change.type == "DELETED" or not self._jobs.passes_over(change.resource):
                queue.add(uid)
            if change.type == "DELETED" or change.resource.status.phase.final:
                for child in await self._source.waiting_on(uid):
                    queue.add(child)
        elif isinstance(change.resource, Profile):
            await self._keep_warm()
        queue.add(SCHEDULE)

    async def _keep_warm(self) -> None:
        """The pools of the backends are this server's to keep, by the profiles that there are."""
        profiles = await self._store.aread(lambda reader: reader.list(Profile, limit=1000).items)
        for backend in self._backends.values():
            backend.keep_warm(profiles)

    async def _resync(self) -> None:
        """Look at everything that lives now and then: whatever was missed is found."""
        while True:
            try:
                await self._keep_warm()
                await self._enqueue_all()
                await self._sweep_orphans()
            except Exception as error:  # told, and tried again at the next round
                mishaps.tell(self._log, "looking over all live jobs failed", error)
            await asyncio.sleep(RESYNC_SECONDS)

    async def _enqueue_all(self) -> None:
        token = ""
        while self._queue is not None:
            page = await self._store.aread(
                lambda reader, token=token: reader.list(  # type: ignore[misc]
                    TrainJob, Filter(phases=LIVE), limit=500, continue_=token
                )
            )
            for job in page.items:
                if not self._jobs.passes_over(job):
                    self._queue.add(job.metadata.uid)
            token = page.continue_
            if not token:
                break
        doomed = await self._store.aread(lambda reader: reader.deleting(TrainJob))
        for job in doomed:
            if self._queue is not None:
                self._queue.add(job.metadata.uid)
        if self._queue is not None:
            self._queue.add(SCHEDULE)

    async def _sweep_orphans(self) -> None:
        """Attempts that a backend still has although their end is in the record, or their job is gone."""
        for backend in self._backends.values():
            try:
                left = await backend.attempts()
            except BackendError as error:  # another backend's attempts are to be swept all the same
                mishaps.tell(self._log, f"backend {backend.name} does not tell its attempts", error)
                continue
            for ref in left:
                if await self._store.aread(partial(_is_over, ref=ref, ours=backend.is_ours(ref))):
                    self._log.warning("removing what is left of %s on backend %s", ref.name, backend.name)
                    try:
                        await backend.delete(ref)
                    except BackendError as error:
                        mishaps.tell(self._log, f"what is left of {ref.name} can't be removed yet", error)

    async def _retain(self) -> None:
        while True:
            try:
                marked = await self._retention.reconcile(self._clock())
                if marked:
                    self._log.info("%d old jobs are to be deleted", marked)
                if self._uploads is not None and (gone := await self._uploads.reconcile(self._clock())):
                    self._log.info("%d uploads that no job used are gone", gone)
                if gone := await self._environments.collect():
                    self._log.info("%d environments that no job used are gone", gone)
            except Exception as error:  # told, and tried again at the next round
                mishaps.tell(self._log, "retention failed", error)
            await asyncio.sleep(RETENTION_SECONDS)


def _is_over(reader: Reader, ref: AttemptRef, ours: bool) -> bool:
    try:
        job = reader.by_uid(TrainJob, ref.uid)
    except NotFound:
        return ours  # a job leaves the record only behind its attempts, but this one may be another record's
    if job.status.phase.final:
        return True
    return any(attempt.number == ref.attempt and attempt.end is not None for attempt in job.status.attempts)
