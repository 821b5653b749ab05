"""Jobs with requirements wait until their environment is built; environments that no job needs go.

``status.environmentLock`` is the sign: a queued job that has requirements and no lock is not admitted.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from ..backends.base import Backend, EnvironmentState
from ..resources.base import Condition, parse
from ..resources.errors import NotFound
from ..resources.names import requirements_key
from ..resources.profile import Profile
from ..resources.queue import Queue
from ..resources.trainjob import Phase, Reason, Requirements, TrainJob
from ..store import Reader, Writer
from . import needs, report
from .means import Means, default_backend
from .snapshot import BUILDING

LOOK_SECONDS = 10.0
"""How often the words of a waiting job are renewed; the end of a build is told at once."""
KEPT_LISTS = "environments/requirements/"


class EnvironmentController:
    """Has environments built for queued jobs, and removed when they are needed no more."""

    def __init__(self, means: Means) -> None:
        self._store, self._objects, self._backends = means.store, means.objects, means.backends
        self._clock, self._log = means.clock, means.log
        self._unneeded: set[str] = set()

    async def wait(self, job: TrainJob) -> float | None:
        """One step for a queued job that waits for its environment. Returns after how many seconds to come back."""
        if job.spec.scheduling_gates:
            if job.status.reason == BUILDING:
                await self._store.awrite(lambda writer: _pause(writer, job.metadata.uid))
            return None  # it may never be released, and builds have little room: those that could run go first
        backend = await self._store.aread(lambda reader: self._backend(reader, job))
        if backend is None:
            return None  # admission waits for it, too, and says so
        state = await self._state(backend, job)
        change = {"ready": _take, "failed": _fail, "building": _tell}[state.state]
        await self._store.awrite(lambda writer: change(writer, job.metadata.uid, state, self._clock()))
        if state.state == "failed":
            self._log.info("%s/%s has no environment: %s", job.metadata.namespace, job.metadata.name, state.message)
        return LOOK_SECONDS if state.state == "building" else None

    async def ensure(self, job: TrainJob, backend: Backend) -> EnvironmentState | None:
        """What keeps an admitted job from being started; None where nothing does.

        Its environment was ready when it was admitted. Only if another hand removed it, or the runtime became another
        one, it is built again now, and the job says so.
        """
        if job.spec.environment.requirements is None:
            return None
        state = await self._state(backend, job)
        if state.state == "building":
            await self._store.awrite(lambda writer: _tell_again(writer, job.metadata.uid, state, self._clock()))
        if state.state != "ready":
            return state
        if state.lock != job.status.environment_lock or report.waits_for_environment(job):
            await self._store.awrite(lambda writer: _take(writer, job.metadata.uid, state, self._clock()))
        return None

    async def collect(self) -> int:
        """Remove environments and lists that nobody needs; how many environments went."""
        needed, profiles = await self._store.aread(_needed)
        gone = 0
        for backend in self._backends.values():
            gone += await backend.collect_environments([*needed, *profiles])
        await self._collect_lists()
        return gone

    async def _state(self, backend: Backend, job: TrainJob) -> EnvironmentState:
        requirements = job.spec.environment.requirements
        assert requirements is not None
        snapshot = job.status.profile_snapshot
        profile, environment = parse(Profile, snapshot) if snapshot else Profile(), job.spec.environment
        return await backend.environment(
            job.metadata.uid,
            requirements,
            minimum_isolation=profile.spec.minimum_isolation,
            owner=job.metadata.owner,
            language=environment.language,
            image=environment.image,
            profile_image=profile.spec.environment.image,
        )

    def _backend(self, reader: Reader, job: TrainJob) -> Backend | None:
        try:
            queue = reader.get(Queue, "", job.spec.queue)
        except NotFound:
            return None
        return self._backends.get(queue.spec.backend or default_backend(self._backends))

    async def _collect_lists(self) -> None:
        """Lists that were unneeded at the last sweep, too: removed in a transaction, as a submit writes them in one."""
        there = await asyncio.to_thread(lambda: {info.key for info in self._objects.list(KEPT_LISTS)})

        def run(writer: Writer) -> set[str]:
            named = {requirements_key(one.digest) for group in _needed(writer) for one in group}
            for key in (there - named) & self._unneeded:
                self._objects.delete(key)
            return there - named

        if there:
            self._unneeded = await self._store.awrite(run)


def _needed(reader: Reader) -> tuple[list[Requirements], list[Requirements]]:
    """What live jobs name, and what profiles name."""
    profiles = reader.list(Profile, limit=1000).items
    named = [profile.spec.environment.requirements for profile in profiles]
    live = {(one.format, one.digest): one for one in needs.requirements(reader)}
    return list(live.values()), [one for one in named if one is not None]


def _queued(writer: Writer, uid: str) -> TrainJob | None:
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return None
    return job if job.status.phase is Phase.QUEUED else None


def _take(writer: Writer, uid: str, state: EnvironmentState, now: datetime) -> None:
    """Note which exact versions it will run with; from now on it may be admitted."""
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return
    if job.status.phase.final:
        return
    job.status.environment_lock = state.lock
    _unsay(job)
    writer.update(job, check=False)


def _pause(writer: Writer, uid: str) -> None:
    """A gate holds it now, not its environment."""
    job = _queued(writer, uid)
    if job is not None and job.spec.scheduling_gates and _unsay(job):
        writer.update(job, check=False)


def _unsay(job: TrainJob) -> bool:
    told = job.status.reason == BUILDING
    if told:
        job.status.reason = job.status.message = ""
    elif report.waits_for_environment(job):  # it is admitted: the message alone told of it
        job.status.message = ""
    return report.remark_environment(job, None) or told


def _fail(writer: Writer, uid: str, state: EnvironmentState, now: datetime) -> None:
    job = _queued(writer, uid)
    if job is not None:
        report.end(job, Phase.FAILED, Reason.ENVIRONMENT_ERROR, state.message, now)
        writer.update(job, check=False)


def _tell(writer: Writer, uid: str, state: EnvironmentState, now: datetime) -> None:
    job = _queued(writer, uid)
    if state.since is None:
        told = (BUILDING, f"its environment is not begun yet: {state.message}")
    else:
        told = (BUILDING, f"its environment is being built: {state.message} since {state.since:%H:%M} UTC")
    if job is None or (job.status.reason, job.status.message) == told:
        return  # nothing is written while nothing happens: every write wakes all who watch
    job.status.reason, job.status.message = told
    report.remark_environment(job, _condition(state, now))
    writer.update(job, check=False)


def _tell_again(writer: Writer, uid: str, state: EnvironmentState, now: datetime) -> None:
    """Of a job that has a place already."""
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return
    message = f"It waits for its environment again: {state.message}"
    if state.since is not None:
        message = f"Its environment was gone and is being built again: {state.message} since {state.since:%H:%M} UTC"
    if job.status.live_attempt is None or job.status.message == message:
        return
    job.status.message = message
    report.remark_environment(job, _condition(state, now))
    writer.update(job, check=False)


def _condition(state: EnvironmentState, now: datetime) -> Condition:
    return Condition(
        type=report.ENVIRONMENT_READY,
        status="Unknown",
        reason="Waiting" if state.since is None else "Building",
        message=state.message,
        last_transition_time=state.since or now,
    )
