"""The life of a job, one idempotent step at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from ..backends.base import AttemptRef, AttemptRequest, Backend, BackendError, Observation
from ..resources import audit
from ..resources.base import Condition, parse
from ..resources.errors import NotFound
from ..resources.failpoints import reach
from ..resources.names import OBJECTS_FINALIZER, blob_prefix
from ..resources.profile import Profile
from ..resources.queue import Queue
from ..resources.trainjob import Attempt, Phase, Reason, TrainJob
from ..store import Reader, Writer
from . import gates, needs, report, sweeps
from .ending import Ending, cancelled, ending, preempted
from .environments import EnvironmentController
from .means import Means
from .metrics import ControllerMetrics
from .snapshot import ended_row, pending
from .together import Changes, Lookup, StoredBytes, Wanted

PROGRESS_SECONDS = 1.0
"""Progress is written at most this often."""
LOOK_SECONDS = {"starting": 5.0, "running": 10.0}
"""How long an active attempt is left alone when its backend says nothing. Hundreds may run, and a look costs some
milliseconds.
"""
CREATE_SECONDS = 60.0
"""The longest pause between two tries to create an attempt that a backend can't create now."""
NEEDED_SECONDS = 15.0
"""How long the removal of outputs waits that another job is still to read."""

CREATED = "Created"


class TrainJobController:
    """Brings each job from Queued to its end. Safe to be killed between any two lines."""

    def __init__(self, means: Means, metrics: ControllerMetrics, environments: EnvironmentController) -> None:
        self._store, self._objects, self._backends = means.store, means.objects, means.backends
        self._clock, self._log = means.clock, means.log
        self._metrics, self._environments = metrics, environments
        self._lookup, self._changes = Lookup(means.store), Changes(means.store)
        self._stored_bytes = StoredBytes(means.objects, means.log)
        self._written: dict[str, float] = {}
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._looks = sweeps.Looks()

    async def stop(self) -> None:
        """Come to an end with what was begun, once nobody calls :meth:`reconcile` any more."""
        for queue in (self._lookup, self._changes, self._stored_bytes):
            await queue.close()

    async def reconcile(self, uid: str) -> float | None:
        """One step for one job. Returns after how many seconds to come back, None to wait for a change."""
        job = await self._lookup.ask(uid)
        if job is None:
            self._forget(uid)
            return None
        if job.status.phase.final:
            self._forget(uid)
            return await self._finished(job)
        if job.status.phase is Phase.QUEUED and job.status.live_attempt is None:
            return await self._queued(job)
        return await self._active(job)

    def passes_over(self, job: TrainJob) -> bool:
        """Whether there is nothing to do for a job that is as the feed told it: the next change tells of it again."""
        if job.spec.cancel is not None and not job.status.phase.final:
            return False
        if job.metadata.deletion_timestamp is not None:
            return False
        if job.status.phase.final:
            self._forget(job.metadata.uid)
            return job.spec.sweep is None or job.spec.sweep.max_parallel is None
        waits = job.status.phase is Phase.QUEUED and job.status.live_attempt is None
        return waits and not job.spec.scheduling_gates and not pending(job)

    def _forget(self, uid: str) -> None:
        self._written.pop(uid, None)
        self._tries.pop(uid, None)
        self._not_before.pop(uid, None)

    # Queued

    async def _queued(self, job: TrainJob) -> float | None:
        if job.spec.cancel is not None or job.metadata.deletion_timestamp is not None:
            await self._change(job, self._cancel_before_start)
            return None
        if any(gate.type == "dependency" for gate in job.spec.scheduling_gates):
            # First: nobody need approve, nor wait for, what can't run any more.
            changed = await self._store.awrite(lambda writer: gates.settle(writer, job.metadata.uid, self._clock()))
            reach("gates.settled")
            if changed:
                return None  # the feed brings the job back as it is now
        waits = next((gate.until for gate in job.spec.scheduling_gates if gate.type == "approval"), None)
        if waits is not None:
            left = (waits - self._clock()).total_seconds()
            if left > 0:
                return left
            ended = await self._change(job, lambda fresh: gates.expire(fresh, self._clock()))
            if ended is not None:
                audit.note(audit.SERVER, "expire", ended, "nobody approved it in time")
            return None
        again = next((gate.until for gate in job.spec.scheduling_gates if gate.type == "retry"), None)
        if again is not None:
            left = (again - self._clock()).total_seconds()
            if left > 0:
                return left
            await self._change(job, lambda fresh: gates.let_retry(fresh, self._clock()))
            return None
        again_in = await self._settle_sweep(job) if sweeps.waits(job) else None
        if pending(job):
            built_in = await self._environments.wait(job)
            return again_in if built_in is None else built_in
        return again_in

    def _cancel_before_start(self, job: TrainJob) -> bool:
        if job.status.phase is not Phase.QUEUED or job.status.live_attempt is not None:
            return False
        text = job.spec.cancel.message if job.spec.cancel else ""
        message = cancelled(job.spec, " before it started", text)
        report.end(job, Phase.CANCELLED, Reason.CANCELLED_BY_USER, message, self._clock())
        return True

    # Admitted and Running, and Queued elsewhere

    async def _active(self, job: TrainJob) -> float | None:
        attempt = job.status.attempt
        if attempt is None:
            raise RuntimeError(f"{job.metadata.name} is {job.status.phase.value} without an attempt")
        backend = self._backends.get(attempt.backend)
        if backend is None:
            await self._change(job, lambda fresh: report.no_backend(fresh, attempt.backend, sorted(self._backends)))
            return 30.0
        ref = AttemptRef(job.metadata.uid, attempt.number)
        reach("attempt.found")
        pause = self._not_before.get(ref.uid, 0.0) - time.monotonic()
        if pause > 0 and job.spec.cancel is None:
            return pause  # somebody asked to be left alone for so long, whatever else is told of the job
        ends = job.spec.cancel is not None or bool(attempt.preempted)
        if not _created(job, attempt) and not ends and not backend.may_create(ref):
            return None
        try:
            return await self._look(job, attempt, backend, ref)
        finally:
            backend.give_up_turn(ref)

    async def _look(self, job: TrainJob, attempt: Attempt, backend: Backend, ref: AttemptRef) -> float | None:
        try:
            seen = await backend.observe(ref)
        except BackendError as error:
            if error.permanent or _created(job, attempt):
                raise
            return await self._create_later(job, backend, error)
        if seen.state == "gone" and not _created(job, attempt):
            return await self._create(job, attempt, backend, ref)
        return await self._go_on(job, attempt, backend, seen)

    async def _go_on(self, job: TrainJob, attempt: Attempt, backend: Backend, seen: Observation) -> float | None:
        """Its backend was given the attempt."""
        if seen.state == "ended" or (seen.state == "gone" and _created(job, attempt)):
            return await self._end(job, backend, seen)
        if not _created(job, attempt):  # from now on it must not be started again
            job = await self._change(job, lambda fresh: _mark_created(fresh, attempt.number, self._clock())) or job
            reach("attempt.marked")
        if seen.state == "gone":
            return 0.0  # it was given just now: what becomes of it is asked in earnest
        if job.spec.cancel is not None:
            await backend.cancel(seen.ref, job.spec.cancel.message)
        elif attempt.preempted:
            await backend.cancel(seen.ref, attempt.preempted)
        return await self._follow(job, seen)

    async def _create(self, job: TrainJob, attempt: Attempt, backend: Backend, ref: AttemptRef) -> float | None:
        if job.spec.cancel is not None:
            message = cancelled(job.spec, " before it started", job.spec.cancel.message)
            await self._finish(job, Ending(Phase.CANCELLED, Reason.CANCELLED_BY_USER, message))
            return None
        if attempt.preempted:
            await self._finish(job, preempted(attempt.preempted))
            return None
        missing = await self._environments.ensure(job, backend)
        if missing is not None and missing.state == "failed":
            await self._finish(job, Ending(Phase.FAILED, Reason.ENVIRONMENT_ERROR, missing.message))
        if missing is not None:
            self._tries.pop(ref.uid, None)  # what failed was the lack of it: once it is built the job starts at once
            self._not_before.pop(ref.uid, None)
            return PROGRESS_SECONDS
        profile = parse(Profile, job.status.profile_snapshot) if job.status.profile_snapshot else Profile()
        request = AttemptRequest(ref, job, profile, blob_prefix(job.metadata.owner))
        if attempt.local_queue:
            chosen = await self._store.aread(lambda reader: _priority_class(reader, job))
            request = replace(request, local_queue=attempt.local_queue, priority_class=chosen)
        try:
            await backend.create(request)
        except BackendError as error:
            if error.permanent:
                await self._finish(job, Ending(Phase.FAILED, Reason.BACKEND_ERROR, str(error), again=False))
                return None
            return await self._create_later(job, backend, error)
        reach("attempt.created")
        self._tries.pop(ref.uid, None)
        self._not_before.pop(ref.uid, None)
        try:
            seen = await backend.observe(ref)
        except BackendError:
            seen = Observation(ref, "gone")
        return await self._go_on(job, attempt, backend, seen)

    async def _create_later(self, job: TrainJob, backend: Backend, error: BackendError) -> float:
        """Trouble that passes fails no job, however long it takes: it is told of, and waits."""
        tries = self._tries[job.metadata.uid] = self._tries.get(job.metadata.uid, 0) + 1
        pause = min(CREATE_SECONDS, 2.0 ** min(tries - 1, 10)) * random.uniform(0.7, 1.0)  # noqa: S311 - no secret
        pause = max(pause, error.after or 0.0)
        self._not_before[job.metadata.uid] = time.monotonic() + pause
        self._log.warning("%s: try %d to start %s failed: %s", backend.name, tries, job.metadata.name, error)
        why = f"It could not be started yet, and that is tried again: {error}"
        number = _live(job)
        await self._change(job, lambda fresh: _live(fresh) == number and _wait(fresh, why, self._clock()))
        return pause

    async def _follow(self, job: TrainJob, seen: Observation) -> float | None:
        """Write what changed while it runs: the start at once, progress at most every second."""
        now = time.monotonic()
        uid = job.metadata.uid
        if not report.differs(job, seen):
            return LOOK_SECONDS.get(seen.state)  # of one that is queued its backend tells when that is over
        due = self._written.get(uid, 0.0) + PROGRESS_SECONDS
        if not report.moves(job, seen) and now < due:
            return due - now
        self._written[uid] = now
        done = await self._change(job, lambda fresh: report.follow(fresh, seen, self._clock()))
        reach("attempt.followed")
        if done is not None and job.status.phase is Phase.QUEUED and done.status.phase is not Phase.QUEUED:
            self._metrics.admitted(done, self._clock())
        return LOOK_SECONDS.get(seen.state, LOOK_SECONDS["starting"])

    async def _end(self, job: TrainJob, backend: Backend, seen: Observation) -> float | None:
        stored = await self._stored_bytes.ask(seen.ref)
        reach("attempt.ended")
        attempt = job.status.attempt
        why = attempt.preempted if attempt is not None else ""
        await self._finish(job, ending(job.spec, seen, why), seen, stored)
        reach("attempt.finished")
        # Only now, that the end is in the record, may what tells of it go.
        await backend.delete(seen.ref)
        reach("attempt.removed")
        return None

    async def _finish(self, job: TrainJob, end: Ending, seen: Observation | None = None, stored_bytes: int = 0) -> None:
        number = seen.ref.attempt if seen is not None else _live(job)

        def change(fresh: TrainJob) -> bool:
            if fresh.status.phase.final or number is None or _live(fresh) != number:
                return False  # another server has told this end already; the live attempt may be the next one
            if seen is not None and seen.state == "ended":
                _mark_created(fresh, number, self._clock())  # it may have ended before anybody could say so
            report.finish(fresh, end, seen, self._clock())
            if fresh.status.attempt is not None:
                fresh.status.attempt.stored_bytes = stored_bytes
            return True

        done = await self._change(job, change, _charge)
        if done is not None:
            meta = done.metadata
            self._metrics.ended(done)
            again = "" if done.status.phase.final else ", and queues again"
            self._log.info(
                "%s/%s ended: %s (%s)%s",
                meta.namespace,
                meta.name,
                end.phase.value,
                end.reason.value,
                again,
                extra={"job": meta.uid, "attempt": len(done.status.attempts), "reason": end.reason.value},
            )

    async def _settle_sweep(self, job: TrainJob, again: bool = False) -> float | None:
        """Look at all points of the job's sweep; not for each that waits, where that was just done and the job was
        there. Then one of those comes back for all, after the seconds that are returned to it.
        """
        now = time.monotonic()
        if not again and not self._looks.due(job, now):
            return self._looks.comes_back(job, now)
        self._looks.note(job, now, self._clock())
        await self._store.awrite(lambda writer: sweeps.settle(writer, job, self._clock()))
        reach("sweep.settled")
        return None

    # Final

    async def _finished(self, job: TrainJob) -> float | None:
        """Let the next point of its sweep go on. Clean up behind a job that was deleted: its backend's remains, its
        objects, its dependants, itself.
        """
        if job.spec.sweep is not None and job.spec.sweep.max_parallel is not None:
            await self._settle_sweep(job, again=True)
        if job.metadata.deletion_timestamp is None:
            return None
        if await self._store.aread(lambda reader: needs.is_needed(reader, job.metadata.uid)):
            return NEEDED_SECONDS  # nobody new can name it: who does so now is the last
        for attempt in job.status.attempts:
            backend = self._backends.get(attempt.backend)
            if backend is not None:
                await backend.delete(AttemptRef(job.metadata.uid, attempt.number))
        await asyncio.to_thread(self._objects.delete_prefix, f"jobs/{job.metadata.uid}/")
        reach("job.cleared")
        await self._store.awrite(lambda writer: _remove(writer, job.metadata.uid, self._clock()))
        return None

    async def _change(
        self,
        job: TrainJob,
        change: Callable[[TrainJob], bool],
        beside: Callable[[Writer, TrainJob], None] = lambda writer, job: None,
    ) -> TrainJob | None:
        """Apply ``change`` to the record's own copy, and ``beside`` to the record, in one transaction; None where
        ``change`` found nothing to do.
        """
        return await self._changes.ask(Wanted(job.metadata.uid, change, beside))


def _charge(writer: Writer, job: TrainJob) -> None:
    """Keep what the attempt that has ended held, also for when the job is gone."""
    attempt = job.status.attempt
    row = ended_row(job, attempt) if attempt is not None else None
    if row is not None:
        writer.note_ended(row)


def _created(job: TrainJob, attempt: Attempt) -> bool:
    return any(
        condition.type == CREATED and condition.reason == f"Attempt{attempt.number}"
        for condition in job.status.conditions
    )


def _wait(job: TrainJob, why: str, now: datetime) -> bool:
    """Say on a job with an attempt why its backend has not got it; whether that is new."""
    if job.status.live_attempt is None:
        return False
    job.status.message = why[:2000]
    return job.status.set_condition(
        Condition(type=CREATED, status="False", reason="Waiting", message=why[:2000], last_transition_time=now)
    )


def _live(job: TrainJob) -> int | None:
    """The number of its live attempt."""
    attempt = job.status.live_attempt
    return attempt.number if attempt is not None else None


def _mark_created(job: TrainJob, number: int, now: datetime) -> bool:
    if _live(job) != number:
        return False  # who asked was late: another attempt's mark must stay
    if job.status.phase is Phase.ADMITTED:
        job.status.message = ""
    return job.status.set_condition(
        Condition(
            type=CREATED,
            status="True",
            reason=f"Attempt{number}",
            message="The backend has the attempt; if it vanishes, it is not started again.",
            last_transition_time=now,
        )
    )


def _priority_class(reader: Reader, job: TrainJob) -> str:
    """What the job's priority is to Kueue, by its queue."""
    try:
        queue = reader.get(Queue, "", job.spec.queue)
    except NotFound:
        return ""
    return queue.spec.kueue.class_of(job.spec.priority) if queue.spec.kueue is not None else ""


def _remove(writer: Writer, uid: str, now: datetime) -> None:
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return
    for child in writer.owned_by(uid):
        if isinstance(child, TrainJob) and child.metadata.deletion_timestamp is None:
            report.delete(child, f"{job.metadata.name}, which it belonged to, was deleted", now)
            writer.update(child, check=False)
    job.metadata.finalizers = [item for item in job.metadata.finalizers if item != OBJECTS_FINALIZER]
    if job.metadata.finalizers:
        writer.update(job, check=False)  # somebody else still has to clean up
    else:
        writer.remove(job)
