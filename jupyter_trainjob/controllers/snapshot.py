"""The waiting and running jobs and what ended ones used, kept in memory as a cache of the record and brought up to date
by its feed.

A snapshot and the ``scheduler_epoch`` it belongs to are read in one transaction: that is what makes admission exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..resources.errors import Expired
from ..resources.queue import Queue
from ..resources.trainjob import Attempt, Gate, Phase, Resources, TrainJob
from ..scheduling.model import (
    UNLIMITED,
    ActiveView,
    Amount,
    Budget,
    NodeView,
    PastView,
    PodView,
    Policy,
    QueuedView,
    QueueView,
    Snapshot,
)
from ..scheduling.usage import FURTHEST, Ledger, Weights, reference_for
from ..scheduling.views import queue_view
from ..store import EndedRow, Filter, News, Reader

LIVE = (Phase.QUEUED.value, Phase.ADMITTED.value, Phase.RUNNING.value)
PAGE = 1000
BUILDING = "EnvironmentBuilding"
"""``status.reason`` of a queued job whose environment is not ready."""


def need_of(job: TrainJob) -> Amount:
    """What a job holds while it is active."""
    cpu = memory = gpu = 0
    for pod_set in job.spec.needs():
        each = amount(pod_set.resources)
        cpu, memory, gpu = (
            cpu + pod_set.count * each.cpu_millis,
            memory + pod_set.count * each.memory_bytes,
            gpu + pod_set.count * each.gpu,
        )
    return Amount(1, cpu, memory, gpu)


def pods_of(job: TrainJob) -> tuple[PodView, ...]:
    """Its pods, where it has several; else nothing."""
    needs = job.spec.needs()
    if len(needs) == 1 and needs[0].count == 1:
        return ()
    return tuple(PodView(one.count, amount(one.resources)) for one in needs)


def amount(asked: Resources) -> Amount:
    """CPU, memory and GPUs of one pod; it counts as no job."""
    return Amount(0, asked.cpu_millis, asked.memory_bytes, asked.gpu or 0)


def queued_view(job: TrainJob, since: float) -> QueuedView:
    """A waiting job. ``since`` in seconds of the epoch."""
    gates = job.spec.scheduling_gates
    claimed = job.status.claimed.timestamp() if job.status.claimed is not None else 0.0
    return QueuedView(
        job.metadata.uid or "~",
        leaf_owner(job),
        job.spec.queue,
        need_of(job),
        since,
        job.spec.priority,
        job.spec.time_limit_seconds or 3600,
        gate_text(gates) or environment_text(job),
        pods_of(job),
        job.spec.preemptible,
        job.spec.front.requested_at.timestamp() if job.spec.front is not None else 0.0,
        claimed if claimed >= since else 0.0,  # who came to a gate since then has lost it
        _gate_kind(job),
    )


def _gate_kind(job: TrainJob) -> str:
    gates = job.spec.scheduling_gates
    if not gates:
        return "environment"
    return "held" if gates[0].type == "hold" and gates[0].by not in ("", job.metadata.owner) else gates[0].type


def leaf_owner(job: TrainJob) -> str:
    """Under which name the scheduler knows the owner of a job: an approved one is none of the owner's others."""
    return job.metadata.owner + (UNLIMITED if job.spec.approved is not None else "")


def is_of(name: str, owner: str) -> bool:
    """Whether a scheduler's name of an owner is that of ``owner``."""
    return name.removesuffix(UNLIMITED) == owner


def began(attempt: Attempt) -> float:
    """Since when an attempt holds its quota, in seconds of the epoch; 0 where it never did.

    Its admission, not the start of its code: that is when limits and budgets were looked at, and a GPU is held while
    the image is pulled.
    """
    since = attempt.admitted or attempt.start
    return since.timestamp() if since is not None else 0.0


def ended_row(job: TrainJob, attempt: Attempt) -> EndedRow | None:
    """What an attempt that has ended held; None where that was nothing. No more than its time limit: what it took
    beside, to begin and to end, is not the user's, and no budget was asked for it.
    """
    since = began(attempt)
    if attempt.end is None or not since:
        return None
    need = need_of(job)
    return EndedRow(
        job.metadata.uid,
        attempt.number,
        job.spec.queue,
        leaf_owner(job),
        attempt.backend,
        need.cpu_millis,
        need.memory_bytes,
        need.gpu,
        since,
        max(since, min(attempt.end.timestamp(), since + (job.spec.time_limit_seconds or 3600))),
        attempt.overtook,
    )


def past_view(row: EndedRow) -> PastView:
    """The same for the scheduler."""
    need = Amount(1, row.cpu_millis, row.memory_bytes, row.gpu)
    return PastView(row.owner, row.queue, row.backend, need, row.since, row.until, row.overtook)


def gate_text(gates: list[Gate]) -> str:
    """In words, what keeps a job from queueing; empty where nothing does."""
    if not gates:
        return ""
    gate = gates[0]
    if gate.type == "hold":
        return (f"{gate.by} put it on hold" if gate.by else "it is on hold") + (
            f": {gate.message}" if gate.message else ""
        )
    if gate.message:
        return gate.message
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


class Told(NamedTuple):
    """A change for an engine that is kept: what waits, what holds its quota, what has ended, or (neither) is gone."""

    uid: str
    waits: QueuedView | None = None
    holds: ActiveView | None = None
    ended: PastView | None = None


MAX_TOLD = 20_000
"""So many changes are kept for whoever asks; then they are to look at everything anew."""
PAST_HALF_LIVES = 20
"""What ended so long ago counts for nothing."""
WEIGHTS_MOVE = 1.1
"""Usage is weighed anew, that of the past too, when the nodes make anything that many times dearer or cheaper."""
WEIGH_SECONDS = 3600.0
"""No sooner than so long after the last time: that reads months of usage, and nodes that come and go come back."""


@dataclass
class RecordCache:
    """What of the record matters to scheduling, as of feed version ``version``."""

    version: int = -1
    default_backend: str = ""
    policy: Policy = field(default_factory=Policy)
    weights: Weights = field(default_factory=Weights)
    """By these all usage is charged, past and present."""
    now: float = 0.0
    """Of the latest :meth:`refresh`, in seconds of the epoch."""
    queues: dict[str, QueueView] = field(default_factory=dict)
    queued: dict[str, QueuedView] = field(default_factory=dict)
    active: dict[str, ActiveView] = field(default_factory=dict)
    waiting_on: dict[str, set[str]] = field(default_factory=dict)
    """uid of a job → uids of those with a dependency gate on it."""
    ledger: Ledger = field(default_factory=lambda: Ledger(0.0, 1.0))
    told: list[Told] = field(default_factory=list)
    lost: bool = True
    """Whether ``told`` is not all that happened since somebody took it."""
    news: News = field(default_factory=News)
    _waits_for: dict[str, list[str]] = field(default_factory=dict)
    _budgets: dict[str, dict[str, Budget | None]] = field(default_factory=dict)
    _recount: bool = True
    _sizes: dict[str, Amount] = field(default_factory=dict)
    """Of all nodes of each backend, as it told them last."""
    _weighed_at: float = 0.0
    _turns: float = 0.0
    """When the next window of any budget begins."""

    def refresh(self, reader: Reader, now: float) -> None:
        """Bring everything up to ``reader``'s moment; rebuild where the feed no longer reaches back."""
        self.now = now
        if now - self.ledger.reference > FURTHEST * 0.8 * self.policy.half_life_seconds:
            self._recount = True
        try:
            if self.version < 0:
                self._rebuild(reader)
            else:
                self._follow(reader)
        except Expired:
            self._rebuild(reader)
        if self._recount:
            self._count(reader)
        if now >= self._turns:
            self._forget()

    def weigh(self, nodes: tuple[NodeView, ...], now: float) -> None:
        """Charge by these nodes, whole as they are when only we use them: the past as well, so seldom that it does not
        matter that it is read again. A backend that names none has those that it named last: a cluster that does not
        answer is not one without GPUs. What no node has now keeps its worth.
        """
        known = set(self._sizes)
        for backend in {node.backend for node in nodes}:
            size = sum((node.size for node in nodes if node.backend == backend), Amount())
            if size.cpu_millis:
                self._sizes[backend] = size
        if not self._sizes or (known == set(self._sizes) and now < self._weighed_at + WEIGH_SECONDS):
            return
        new, old = Weights.of(self._sizes.values()), self.weights
        new = Weights(new.memory or old.memory, new.gpu or old.gpu)
        pairs = ((new.memory, old.memory), (new.gpu, old.gpu))
        if any(max(one, other) > WEIGHTS_MOVE * min(one, other) for one, other in pairs):
            self.weights, self._weighed_at, self._recount = new, now, True

    def take_told(self) -> list[Told] | None:
        """What changed since this was last asked, in turn; None: look at everything anew."""
        told, lost = self.told, self.lost
        self.told, self.lost = [], False
        return None if lost else told

    def snapshot(self, epoch: int, nodes: tuple[NodeView, ...], now: float | None = None) -> Snapshot:
        """An immutable copy for one decision at ``now``, in seconds of the epoch."""
        return Snapshot(
            epoch,
            dict(self.queues),
            nodes,
            tuple(self.queued.values()),
            tuple(self.active.values()),
            now,
            self.policy,
            (),
            self.ledger.copy(),
            self.weights,
        )

    def _follow(self, reader: Reader) -> None:
        while True:
            page = reader.changes(self.version, limit=PAGE, known=self.news)
            for change in page.changes:
                self._apply(change.resource, change.type == "DELETED")
            self.version = page.version
            if len(page.changes) < PAGE:
                return

    def _rebuild(self, reader: Reader) -> None:
        version = reader.version()
        self.queues, self.queued, self.active, self.waiting_on, self._waits_for = {}, {}, {}, {}, {}
        self._pages(lambda token: reader.list(Queue, limit=PAGE, continue_=token))
        self._pages(lambda token: reader.list(TrainJob, Filter(phases=LIVE), limit=PAGE, continue_=token))
        self.version, self.lost, self._recount = version, True, True
        self.told.clear()

    def _count(self, reader: Reader) -> None:
        """Sum up anew what ended attempts used."""
        half_life = self.policy.half_life_seconds
        self.ledger = Ledger(reference_for(self.now, half_life), half_life)
        self._budgets.clear()
        self.lost = True
        self.told.clear()
        windows = [one.window_seconds for view in self.queues.values() for one in _counted_by(view)[1:] if one]
        for row in reader.ended(self.now - max([PAST_HALF_LIVES * half_life, *windows])):
            self._charge(past_view(row))
        self._recount = False  # not before: what breaks off is not all

    def _charge(self, past: PastView) -> None:
        if past.queue not in self._budgets:
            self._budgets[past.queue] = self._budgets_of(past.queue)
        budgets = self._budgets[past.queue]
        if past.owner.endswith(UNLIMITED):
            budgets = {name: budget for name, budget in budgets.items() if name}
        self.ledger.add(past, self.weights.billing(past.need), budgets, self.now)

    def _forget(self) -> None:
        """What was spent in windows that are over is of no account."""
        now, kept, ends = self.now, {}, [math.inf]
        for (queue, owner, window), spent in self.ledger.spent.items():
            view = self.queues.get(queue)
            budget = (view.per_user_budget if owner else view.budget) if view is not None else None
            if budget is not None and now < (window + 1) * budget.window_seconds:
                kept[queue, owner, window] = spent
        for view in self.queues.values():
            budgets = (view.budget, view.per_user_budget)
            ends += [(one.window(now) + 1) * one.window_seconds for one in budgets if one is not None]
        self.ledger.spent, self._turns = kept, min(ends)

    def _budgets_of(self, name: str) -> dict[str, Budget | None]:
        view = self.queues.get(name)
        found = {"": view.per_user_budget} if view is not None else {}
        while view is not None and view.name not in found:
            found[view.name] = view.budget
            view = self.queues.get(view.parent)
        return found

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
            name = resource.metadata.name
            old = self.queues.pop(name, None)
            new = None if deleted else queue_view(resource, self.default_backend)
            if new is not None:
                self.queues[name] = new
            if new != old:
                self.lost, self._turns = True, 0.0
                self._budgets.clear()
                self._recount = self._recount or _counted_by(new) != _counted_by(old)
        elif isinstance(resource, TrainJob):
            self._apply_job(resource, deleted)

    def _tell(self, told: Told) -> None:
        if self.lost:
            return
        self.told.append(told)
        if len(self.told) > MAX_TOLD:
            self.told.clear()
            self.lost = True

    def _apply_job(self, job: TrainJob, deleted: bool) -> None:
        uid = job.metadata.uid
        waited = self.queued.pop(uid, None)
        held = self.active.pop(uid, None)
        if waited is not None:
            self._wait_no_more(uid)
        if held is not None and (deleted or job.status.live_attempt is None):
            self._end(job, held)
        waits = job.status.phase is Phase.QUEUED and job.status.live_attempt is not None
        if deleted or job.status.phase.final:
            if waited is not None:
                self._tell(Told(uid))
        elif job.status.phase is Phase.QUEUED and not waits:
            self._queue(job, waited)
        else:
            self._hold(job, waits)

    def _wait_no_more(self, uid: str) -> None:
        for parent in self._waits_for.pop(uid, ()):
            self.waiting_on[parent].discard(uid)
            if not self.waiting_on[parent]:
                del self.waiting_on[parent]

    def _end(self, job: TrainJob, held: ActiveView) -> None:
        """The attempt that held its quota has ended: charge it."""
        row = ended_row(job, job.status.attempts[-1]) if job.status.attempts else None
        past = past_view(row) if row is not None and not held.waits else None
        if past is not None:
            self._charge(past)
        self._tell(Told(job.metadata.uid, None, None, past))

    def _queue(self, job: TrainJob, waited: QueuedView | None) -> None:
        uid = job.metadata.uid
        if job.spec.cancel is not None or job.metadata.deletion_timestamp is not None:
            if waited is not None:
                self._tell(Told(uid))
            return
        since = job.status.queued or job.metadata.creation_timestamp
        parents = list(dict.fromkeys(gate.job for gate in job.spec.scheduling_gates if gate.type == "dependency"))
        if parents:
            self._waits_for[uid] = parents
        for parent in parents:
            self.waiting_on.setdefault(parent, set()).add(uid)
        view = self.queued[uid] = queued_view(job, since.timestamp() if since else 0.0)
        if view != waited:
            self._tell(Told(uid, view))

    def _hold(self, job: TrainJob, waits: bool) -> None:
        attempt = job.status.attempt
        if attempt is None or not (waits or attempt.admitted is not None):
            return
        queued = job.status.queued or job.metadata.creation_timestamp
        since = began(attempt) or (queued.timestamp() if queued else 0.0)
        needs = {one.name: amount(one.resources) for one in job.spec.needs()} if attempt.places else {}
        view = self.active[job.metadata.uid] = ActiveView(
            job.metadata.uid,
            leaf_owner(job),
            job.spec.queue,
            attempt.backend,
            attempt.node,
            need_of(job),
            since,
            job.spec.time_limit_seconds or 3600,
            waits,
            tuple((place.node, needs[place.pod_set]) for place in attempt.places if place.pod_set in needs),
            job.spec.preemptible,
            attempt.overtook,
            attempt.preempted != "",
            attempt.start.timestamp() if attempt.start is not None else 0.0,
        )
        self._tell(Told(job.metadata.uid, None, view))


def _counted_by(view: QueueView | None) -> tuple[str, Budget | None, Budget | None]:
    """What of a queue's rules matters for sums of the past."""
    return ("", None, None) if view is None else (view.parent, view.budget, view.per_user_budget)
