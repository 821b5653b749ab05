"""The waiting and running jobs, kept in memory as a cache of the record and brought up to date by its feed.

A snapshot and the ``scheduler_epoch`` it belongs to are read in one transaction: that is what makes admission exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..resources.errors import Expired
from ..resources.queue import Queue
from ..resources.trainjob import Gate, Phase, TrainJob
from ..scheduling.model import ActiveView, Amount, NodeView, QueuedView, QueueView, Snapshot
from ..scheduling.views import queue_view
from ..store import Filter, Reader

LIVE = (Phase.QUEUED.value, Phase.ADMITTED.value, Phase.RUNNING.value)
PAGE = 1000
BUILDING = "EnvironmentBuilding"
"""``status.reason`` of a queued job whose environment is not ready."""


def need_of(job: TrainJob) -> Amount:
    """What a job holds while it is active."""
    total = Amount()
    for pod_set in job.spec.pod_sets():
        need = pod_set.resources
        for _ in range(pod_set.count):
            total += Amount(0, need.cpu_millis, need.memory_bytes, need.gpu or 0)
    return total + Amount(jobs=1)


def gate_text(gates: list[Gate]) -> str:
    """In words, what keeps a job from queueing; empty where nothing does."""
    if not gates:
        return ""
    gate = gates[0]
    if gate.message:
        return gate.message
    if gate.type == "hold":
        return "it is on hold; release it to let it queue"
    if gate.type == "dependency":
        return f"it waits until job {gate.job} has {gate.condition}"
    return f"it waits for {gate.type}"


def pending(job: TrainJob) -> bool:
    """Whether the job waits for its environment."""
    return job.spec.environment.requirements is not None and not job.status.environment_lock


def environment_text(job: TrainJob) -> str:
    """In words, what it waits for; empty where it doesn't."""
    if not pending(job):
        return ""
    told = job.status.message if job.status.reason == BUILDING else ""
    return told or "its environment is being built"


@dataclass
class RecordCache:
    """What of the record matters to scheduling, as of feed version ``version``."""

    version: int = -1
    default_backend: str = ""
    queues: dict[str, QueueView] = field(default_factory=dict)
    queued: dict[str, QueuedView] = field(default_factory=dict)
    active: dict[str, ActiveView] = field(default_factory=dict)
    waiting_on: dict[str, set[str]] = field(default_factory=dict)
    """uid of a job → uids of those with a dependency gate on it."""

    def refresh(self, reader: Reader) -> None:
        """Bring everything up to ``reader``'s moment; rebuild where the feed no longer reaches back."""
        if self.version < 0:
            self._rebuild(reader)
            return
        try:
            while True:
                page = reader.changes(self.version, limit=PAGE)
                for change in page.changes:
                    self._apply(change.resource, change.type == "DELETED")
                self.version = page.version
                if len(page.changes) < PAGE:
                    return
        except Expired:
            self._rebuild(reader)

    def snapshot(self, epoch: int, nodes: tuple[NodeView, ...], now: float | None = None) -> Snapshot:
        """An immutable copy for one decision at ``now``, in seconds of the epoch."""
        return Snapshot(epoch, dict(self.queues), nodes, tuple(self.queued.values()), tuple(self.active.values()), now)

    def _rebuild(self, reader: Reader) -> None:
        version = reader.version()
        self.queues, self.queued, self.active, self.waiting_on = {}, {}, {}, {}
        self._pages(lambda token: reader.list(Queue, limit=PAGE, continue_=token))
        self._pages(lambda token: reader.list(TrainJob, Filter(phases=LIVE), limit=PAGE, continue_=token))
        self.version = version

    def _pages(self, fetch: Callable[[str], object]) -> None:
        token = ""
        while True:
            page = fetch(token)
            for item in page.items:  # type: ignore[attr-defined]
                self._apply(item, False)
            token = page.continue_  # type: ignore[attr-defined]
            if not token:
                return

    def _apply(self, resource: object, deleted: bool) -> None:
        if isinstance(resource, Queue):
            if deleted:
                self.queues.pop(resource.metadata.name, None)
            else:
                self.queues[resource.metadata.name] = queue_view(resource, self.default_backend)
        elif isinstance(resource, TrainJob):
            self._apply_job(resource, deleted)

    def _apply_job(self, job: TrainJob, deleted: bool) -> None:
        uid = job.metadata.uid
        old = self.queued.pop(uid, None)
        self.active.pop(uid, None)
        if old is not None:
            for parent in [parent for parent, uids in self.waiting_on.items() if uid in uids]:
                self.waiting_on[parent].discard(uid)
                if not self.waiting_on[parent]:
                    del self.waiting_on[parent]
        attempt = job.status.attempt
        limit = job.spec.time_limit_seconds or 3600
        if deleted or job.status.phase.final:
            return
        waits = job.status.phase is Phase.QUEUED and job.status.live_attempt is not None
        if job.status.phase is Phase.QUEUED and not waits:
            if job.spec.cancel is not None or job.metadata.deletion_timestamp is not None:
                return
            since = job.status.queued or job.metadata.creation_timestamp
            for gate in job.spec.scheduling_gates:
                if gate.type == "dependency":
                    self.waiting_on.setdefault(gate.job, set()).add(uid)
            self.queued[uid] = QueuedView(
                uid,
                job.metadata.owner,
                job.spec.queue,
                need_of(job),
                since.timestamp() if since else 0.0,
                job.spec.priority,
                limit,
                gate_text(job.spec.scheduling_gates) or environment_text(job),
            )
        elif attempt is not None and (waits or attempt.admitted is not None):
            began = attempt.start or attempt.admitted or job.status.queued or job.metadata.creation_timestamp
            self.active[uid] = ActiveView(
                uid,
                job.metadata.owner,
                job.spec.queue,
                attempt.backend,
                attempt.node,
                need_of(job),
                began.timestamp() if began else 0.0,
                limit,
                waits,
            )
