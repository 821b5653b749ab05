"""The admission pass: look, decide, commit all in one transaction, or look again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from ..resources.failpoints import reach
from ..resources.trainjob import Attempt, Phase, PodPlace, TrainJob
from ..scheduling.model import Admission, QueueView
from ..store import Store, Writer
from . import report
from .live import LiveEngine
from .metrics import ControllerMetrics
from .snapshot import amount, pending
from .source import Choice, SnapshotSource


class AdmissionController:
    """Admits queued jobs. Several may run at once on one record: the epoch lets one pass through at a time."""

    def __init__(
        self,
        store: Store,
        source: SnapshotSource,
        clock: Callable[[], datetime],
        log: logging.Logger,
        metrics: ControllerMetrics | None = None,
    ) -> None:
        self._metrics = metrics or ControllerMetrics()
        self._store = store
        self._source = source
        self._live = LiveEngine()
        self._clock = clock
        self._log = log

    async def reconcile(self) -> float | None:
        """One pass. Returns 0 where the record moved on meanwhile and the pass must be made again."""
        now = self._clock()
        try:
            return await self._pass(now)
        except BaseException:  # also where this server leads no more: what the engine started did not start
            self._live.drop()
            raise

    async def _pass(self, now: datetime) -> float | None:
        choice = await self._source.decide(self._live, now.timestamp())
        if not choice.decision.admissions and not choice.decision.preemptions:
            self._metrics.passes.labels("nothing").inc()
            return None
        reach("admission.decided")
        done = await self._store.awrite(lambda writer: _commit(writer, choice, now))
        reach("admission.committed")
        if done is None:
            self._live.drop()
            self._log.debug("another pass came first; looking again")
            self._metrics.passes.labels("outdated").inc()
            return 0.0
        if len(done.admitted) < len(choice.decision.admissions):
            self._live.drop()  # a verb came between: what the engine started did not all start
        self._metrics.passes.labels("admitted").inc()
        self._tell(done)
        return None

    def _tell(self, done: _Done) -> None:
        for job in done.admitted:
            meta = job.metadata
            handed = job.status.phase is Phase.QUEUED
            if not handed:
                self._metrics.admitted(job, self._clock())
            word = "handed to Kueue" if handed else "admitted"
            self._log.info(
                "%s/%s is %s", meta.namespace, meta.name, word, extra={"job": meta.uid, "queue": job.spec.queue}
            )
        for job in done.preempted:
            meta, attempt = job.metadata, job.status.attempts[-1]
            self._log.info(
                "%s/%s makes room: %s",
                meta.namespace,
                meta.name,
                attempt.preempted,
                extra={"job": meta.uid, "queue": job.spec.queue},
            )


class _Done(NamedTuple):
    admitted: list[TrainJob]
    preempted: list[TrainJob]


def _commit(writer: Writer, choice: Choice, now: datetime) -> _Done | None:
    """Record a decision; None where it is out of date."""
    if not writer.advance_scheduler_epoch(choice.epoch):
        return None
    done = _Done([], [])
    preemptions = choice.decision.preemptions
    claimants = dict.fromkeys(one.wanted_by for one in preemptions)
    uids = [one.uid for one in choice.decision.admissions] + [one.uid for one in preemptions]
    uids += [uid for uid in claimants if uid not in uids]
    jobs = writer.by_uids(TrainJob, uids)
    for admission in choice.decision.admissions:
        job = jobs.get(admission.uid)
        if job is not None and _may_start(job):
            _admit(job, admission, choice.queues[job.spec.queue], now)
            done.admitted.append(writer.update(job, check=False))
    for wanted_by in claimants:
        claimant = jobs.get(wanted_by)
        if claimant is None or not _may_start(claimant):
            continue  # nobody is to end for one that is gone
        if claimant.status.claimed is None:
            claimant.status.claimed = now
            writer.update(claimant, check=False)
        for preemption in preemptions:
            job = jobs.get(preemption.uid) if preemption.wanted_by == wanted_by else None
            if job is not None and report.preempt(job, preemption.message, now):
                done.preempted.append(writer.update(job, check=False))
    reach("admission.written")
    return done


def _admit(job: TrainJob, admission: Admission, queue: QueueView, now: datetime) -> None:
    status = job.status
    attempt = Attempt(
        number=len(status.attempts) + 1,
        backend=queue.backend,
        node=admission.node,
        places=_places(job, admission),
        overtook=admission.overtook,
    )
    if queue.local_queue:
        attempt.local_queue = queue.local_queue
        report.hand_over(job)
    else:
        attempt.admitted = now
        status.phase, status.reason, status.message = Phase.ADMITTED, "", ""
        report.runs_again(job, now)
    status.attempts.append(attempt)
    status.progress, status.log, status.outputs = None, None, None
    status.claimed = None
    status.observed_generation = job.metadata.generation


def _places(job: TrainJob, admission: Admission) -> list[PodPlace]:
    """Which pod set each placed pod is of: those of equal needs are equal."""
    left = {one.name: one.count for one in job.spec.needs()}
    needs = {one.name: amount(one.resources) for one in job.spec.needs()}
    found = []
    for node, need in admission.places:
        name = next(name for name, count in left.items() if count and needs[name] == need)
        left[name] -= 1
        found.append(PodPlace(pod_set=name, node=node))
    return found


def _may_start(job: TrainJob) -> bool:
    """Whether what the snapshot saw still holds: verbs do not advance the epoch, for they only take work away."""
    return (
        job.status.phase is Phase.QUEUED
        and job.status.live_attempt is None
        and job.spec.cancel is None
        and job.metadata.deletion_timestamp is None
        and not job.spec.scheduling_gates
        and not pending(job)
    )
