"""The admission pass: look, decide, commit all in one transaction, or look again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from ..resources.errors import NotFound
from ..resources.trainjob import Attempt, Phase, TrainJob
from ..scheduling.decide import decide
from ..scheduling.model import Decision, Snapshot
from ..store import Store, Writer
from . import report
from .metrics import ControllerMetrics
from .snapshot import pending
from .source import SnapshotSource


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
        self._clock = clock
        self._log = log

    async def reconcile(self) -> float | None:
        """One pass. Returns 0 where the record moved on meanwhile and the pass must be made again."""
        snapshot, _ = await self._source.take()
        decision = decide(snapshot)
        if not decision.admissions:
            self._metrics.passes.labels("nothing").inc()
            return None
        admitted = await self._store.awrite(lambda writer: self._commit(writer, snapshot, decision))
        if admitted is None:
            self._log.debug("another pass came first; looking again")
            self._metrics.passes.labels("outdated").inc()
            return 0.0
        self._metrics.passes.labels("admitted").inc()
        for job in admitted:
            meta = job.metadata
            handed = job.status.phase is Phase.QUEUED
            if not handed:
                self._metrics.admitted(job, self._clock())
            word = "handed to Kueue" if handed else "admitted"
            self._log.info(
                "%s/%s is %s", meta.namespace, meta.name, word, extra={"job": meta.uid, "queue": job.spec.queue}
            )
        return None

    def _commit(self, writer: Writer, snapshot: Snapshot, decision: Decision) -> list[TrainJob] | None:
        if not writer.advance_scheduler_epoch(snapshot.epoch):
            return None
        now = self._clock()
        admitted = []
        for admission in decision.admissions:
            try:
                job = writer.by_uid(TrainJob, admission.uid)
            except NotFound:
                continue
            if not _may_start(job):
                continue
            status = job.status
            queue = snapshot.queues[job.spec.queue]
            attempt = Attempt(number=len(status.attempts) + 1, backend=queue.backend, node=admission.node)
            if queue.local_queue:
                attempt.local_queue = queue.local_queue
                report.hand_over(job)
            else:
                attempt.admitted = now
                status.phase, status.reason, status.message = Phase.ADMITTED, "", ""
            status.attempts.append(attempt)
            status.progress, status.log, status.outputs = None, None, None
            status.observed_generation = job.metadata.generation
            admitted.append(writer.update(job, check=False))
        return admitted


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
