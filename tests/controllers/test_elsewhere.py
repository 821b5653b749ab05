"""Queues whose jobs something else admits (Kueue): handed over once, queued until it says so, never two attempts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError, Observation, Place
from jupyter_trainjob.controllers import report
from jupyter_trainjob.controllers.ending import Ending
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.resources.queue import Kueue, Limits, PriorityClass, Queue
from jupyter_trainjob.resources.trainjob import Attempt, Gate, Phase, Reason, Retries, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store, Writer

from .conftest import cancel, job_of, running, until, until_phase
from .instant import InstantBackend

Submit = Callable[..., TrainJob]
pytestmark = pytest.mark.asyncio


class Elsewhere(InstantBackend):
    """Attempts with a LocalQueue wait until they are admitted, and may be sent back."""

    def __init__(self) -> None:
        super().__init__(cpus=1, auto=False)
        self.requests: dict[AttemptRef, AttemptRequest] = {}
        self.asked = 0
        self.away = False

    async def create(self, request: AttemptRequest) -> None:
        self.begins = lambda ref: Observation(ref, "queued") if request.local_queue else Observation(ref, "starting")
        self.requests.setdefault(request.ref, request)
        await super().create(request)

    async def places(self, refs: Collection[AttemptRef]) -> dict[AttemptRef, Place]:
        self.asked += 1
        if self.away:
            raise BackendError("nobody answers")
        line = [ref for ref in self.created if self.known[ref].state == "queued"]
        return {ref: Place(line.index(ref) + 1, "Kueue has no CPU left") for ref in refs}

    def see(self, ref: AttemptRef, state: Any) -> None:
        self.known[ref] = Observation(ref, state, started=utc_now() if state == "running" else None)
        self._changed(ref)

    def preempt(self, ref: AttemptRef, *, begun: bool) -> None:
        now = utc_now()
        evidence = {"limit": "Preempted", "message": "Kueue took its place away.", "signal": 15}
        self.known[ref] = Observation(ref, "ended", started=now if begun else None, ended=now, evidence=evidence)
        self._changed(ref)


def hand_over(store: Store, **spec: Any) -> None:
    """Make the default queue one of Kueue's."""
    spec = {"priority_classes": [PriorityClass(name="high", minimum=0), PriorityClass(name="low")], **spec}

    def change(writer: Writer) -> None:
        queue = writer.get(Queue, "", "default")
        queue.spec.kueue = Kueue(local_queue="jobs", priority_classes=spec["priority_classes"])
        queue.spec.per_user = spec.get("per_user", Limits())
        writer.update(queue)
        writer.advance_scheduler_epoch(None)

    store.write(change)


async def test_all_are_handed_over_and_stay_queued_until_they_are_admitted(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    hand_over(store)
    backend = Elsewhere()
    jobs = [submit(f"j{n}", cpu="4", priority=-n) for n in range(3)]  # each more than the whole node
    async with running(store, objects, backend) as manager:
        await until(lambda: len(backend.created) == 3)
        first = AttemptRef(jobs[0].metadata.uid, 1)
        waiting = job_of(store, first.uid)
        assert (waiting.status.phase, waiting.status.reason) == (Phase.QUEUED, "KueuePending")
        attempt = waiting.status.live_attempt
        assert attempt is not None
        assert (attempt.local_queue, attempt.admitted) == ("jobs", None)
        assert {request.priority_class for request in backend.requests.values()} == {"high", "low"}
        assert backend.requests[first].priority_class == "high"
        use = (await manager.ranking.queue_uses(None))[0]["default"]
        assert (use.running_jobs, use.queued_jobs) == (0, 3)

        backend.see(first, "starting")
        admitted = await until_phase(store, first.uid, Phase.ADMITTED)
        assert admitted.status.attempt is not None
        assert admitted.status.attempt.admitted is not None
        assert admitted.status.reason == ""
        backend.see(first, "queued")  # before it had a pod
        back = await until_phase(store, first.uid, Phase.QUEUED)
        assert back.status.live_attempt is not None
        assert back.status.live_attempt.admitted is None
        backend.see(first, "running")
        await until_phase(store, first.uid, Phase.RUNNING)
        backend.finish(first)
        done = await until_phase(store, first.uid, Phase.SUCCEEDED)
        assert len(done.status.attempts) == 1
    assert len(backend.created) == 3


async def test_their_place_is_asked_for_only_when_somebody_looks(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    hand_over(store)
    backend = Elsewhere()
    jobs = [submit(f"j{n}") for n in range(2)]
    async with running(store, objects, backend) as manager:
        await until(lambda: len(backend.created) == 2)
        assert backend.asked == 0
        second = backend.created[1].uid
        told = await manager.ranking.explain(job_of(store, second))
        assert told.position == 2
        assert told.waiting_for == "Kueue has no CPU left; 1 job is ahead."
        assert told.blockers[0]["scope"] == "kueue"
        assert "cluster's queue" in told.blockers[0]["remedy"]
        both = await manager.ranking.explain_many([job_of(store, job.metadata.uid) for job in jobs])
        assert sorted(one.position or 0 for one in both.values()) == [1, 2]
        assert backend.asked == 2
        backend.away = True
        blind = await manager.ranking.explain(job_of(store, second))
        assert (blind.position, blind.waiting_for) == (None, "The cluster can't be asked now: nobody answers.")


async def test_gates_pauses_and_limits_of_a_user_stay_ours(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    hand_over(store, per_user=Limits(running_jobs=1))
    backend = Elsewhere()
    held = submit("held", scheduling_gates=[Gate(type="hold")])
    first, second = submit("first"), submit("second")
    bobs = submit("bobs", owner="bob")
    async with running(store, objects, backend) as manager:
        await until(lambda: len(backend.created) == 2)
        assert {ref.uid for ref in backend.created} == {first.metadata.uid, bobs.metadata.uid}
        told = await manager.ranking.explain(job_of(store, second.metadata.uid))
        assert told.waiting_for == "Queue default allows you 1 running job and you have 1."
        assert told.estimated_start is None
        assert (await manager.ranking.explain(job_of(store, held.metadata.uid))).waiting_for.startswith("It is on hold")
        ref = AttemptRef(first.metadata.uid, 1)
        backend.see(ref, "running")
        await until_phase(store, ref.uid, Phase.RUNNING)
        assert len(backend.created) == 2
        backend.finish(ref)
        await until(lambda: len(backend.created) == 3)
        assert backend.created[-1].uid == second.metadata.uid


async def test_one_that_waits_there_is_cancelled_at_once(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    hand_over(store)
    backend = Elsewhere()
    uid = submit().metadata.uid
    async with running(store, objects, backend):
        await until(lambda: len(backend.created) == 1)
        cancel(store, uid)
        job = await until_phase(store, uid, Phase.CANCELLED)
        await until(lambda: not backend.known)
    assert backend.cancelled == [AttemptRef(uid, 1)]
    assert job.status.attempts[0].end is not None


@pytest.mark.parametrize(
    ("begun", "retries", "attempts", "phase"),
    [(True, 0, 1, Phase.FAILED), (True, 1, 2, Phase.SUCCEEDED), (False, 0, 2, Phase.SUCCEEDED)],
)
async def test_one_whose_place_was_taken_ends_so_and_another_attempt_follows_as_its_retries_say(
    store: Store, objects: FilesystemStore, submit: Submit, begun: bool, retries: int, attempts: int, phase: Phase
) -> None:
    hand_over(store)
    backend = Elsewhere()
    uid = submit(retries=Retries(limit=retries)).metadata.uid
    first, second = AttemptRef(uid, 1), AttemptRef(uid, 2)
    async with running(store, objects, backend):
        await until(lambda: first in backend.known)
        backend.see(first, "running" if begun else "starting")
        await until_phase(store, uid, Phase.RUNNING if begun else Phase.ADMITTED)
        backend.preempt(first, begun=begun)
        if attempts == 2:
            await until(lambda: second in backend.known)
            live = job_of(store, uid).status
            assert [attempt.end is None for attempt in live.attempts] == [False, True]
            assert first not in backend.known
            backend.finish(second)
        job = await until_phase(store, uid, phase)
    told = job.status.attempts[0]
    assert (told.reason, len(job.status.attempts)) == (Reason.PREEMPTED, attempts)
    assert told.message.startswith("Kueue took its place away.")


async def test_a_server_that_starts_again_finds_what_waits_there(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    hand_over(store)
    backend = Elsewhere()
    uid = submit().metadata.uid
    async with running(store, objects, backend):
        await until(lambda: len(backend.created) == 1)
    async with running(store, objects, backend):
        backend.see(AttemptRef(uid, 1), "running")
        await until_phase(store, uid, Phase.RUNNING)
    assert backend.created == [AttemptRef(uid, 1)]


async def test_more_room_wakes_the_scheduler(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    woken: list[Callable[[], None]] = []

    class Growing(InstantBackend):
        def on_room(self, changed: Callable[[], None]) -> None:
            woken.append(changed)

    backend = Growing(cpus=1)
    uid = submit(cpu="2").metadata.uid
    async with running(store, objects, backend) as manager:
        told = await manager.ranking.explain(job_of(store, uid))
        assert told.blockers[0]["limit"] == "cpu"
        backend._cpus = 2
        woken[0]()
        await until_phase(store, uid, Phase.SUCCEEDED, 5.0)  # nodes are looked at anew after ten seconds only


@pytest.mark.parametrize(("before", "again"), [(report.MAX_FREE - 1, True), (report.MAX_FREE, False)])
async def test_one_whose_place_is_taken_again_and_again_comes_to_an_end(
    submit: Submit, before: int, again: bool
) -> None:
    job = submit()
    lost = Attempt(number=1, backend="cluster", reason=Reason.PREEMPTED, end=utc_now())
    job.status.attempts = [*[lost] * before, Attempt(number=before + 1, backend="cluster")]
    report.finish(job, Ending(Phase.FAILED, Reason.PREEMPTED, "Kueue took its place away."), None, utc_now())
    assert (job.status.phase is Phase.QUEUED) is again, job.status
