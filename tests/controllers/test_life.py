"""The life of a job on a real record: admission, start, end, cancel, retry, gates, deletion, retention, two servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError, Observation
from jupyter_trainjob.controllers import trainjob
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.retention import Retention, RetentionController
from jupyter_trainjob.resources.base import OwnerReference
from jupyter_trainjob.resources.errors import NotFound
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Gate, Phase, Retries, TrainJob
from jupyter_trainjob.storage.base import ObjectInfo
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Filter, Store, Writer

from .conftest import cancel, job_of, limit_queue, make_job, running, until, until_phase
from .instant import InstantBackend

Submit = Callable[..., TrainJob]


def gone(store: Store, uid: str) -> bool:
    try:
        job_of(store, uid)
    except NotFound:
        return True
    return False


@pytest.mark.asyncio
async def test_a_job_runs_to_its_end_and_the_backend_is_cleaned_up(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend()
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        job = await until_phase(store, uid, Phase.SUCCEEDED)
        await until(lambda: not backend.known)
    assert job.status.reason == "Completed"
    assert [attempt.number for attempt in job.status.attempts] == [1]
    attempt = job.status.attempts[0]
    assert attempt.admitted and attempt.start and attempt.end
    assert attempt.admitted <= attempt.start <= attempt.end
    assert job.status.finished == attempt.end


@pytest.mark.asyncio
async def test_never_more_than_the_limit_runs_and_all_come_to_an_end(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    limit_queue(store, running_jobs=2)
    backend = InstantBackend(cpus=64, auto=False)
    uids = [submit(f"j{n}").metadata.uid for n in range(7)]
    async with running(store, objects, backend):
        for done in range(7):
            await until(lambda done=done: len(backend.created) == min(7, done + 2))
            assert len(backend.known) <= 2
            backend.finish(next(ref for ref in list(backend.known) if backend.known[ref].state == "running"))
        for uid in uids:
            await until_phase(store, uid, Phase.SUCCEEDED)
    assert len(backend.created) == 7


@pytest.mark.asyncio
async def test_two_servers_that_both_believe_they_lead_stay_within_the_limit(
    store: Store, db_url: str, objects: FilesystemStore, submit: Submit
) -> None:
    limit_queue(store, running_jobs=3)
    other = Store.open(db_url)
    for n in range(20):
        submit(f"j{n}")
    import logging

    from jupyter_trainjob.controllers.admission import AdmissionController
    from jupyter_trainjob.controllers.source import SnapshotSource

    def controller(opened: Store) -> AdmissionController:
        source = SnapshotSource(opened, {"local": InstantBackend(cpus=64)})
        return AdmissionController(opened, source, utc_now, logging.getLogger("test"))

    controllers = [controller(opened) for opened in (store, other, store, other)]

    async def insist(one: AdmissionController) -> None:
        for _ in range(5):
            while await one.reconcile() is not None:
                pass

    await asyncio.gather(*(insist(one) for one in controllers))
    other.close()
    phases = [job.status.phase for job in store.read(lambda reader: reader.list(TrainJob)).items]
    assert phases.count(Phase.ADMITTED) == 3
    assert phases.count(Phase.QUEUED) == 17


@pytest.mark.asyncio
async def test_one_leads_the_other_takes_over(
    store: Store, db_url: str, objects: FilesystemStore, submit: Submit
) -> None:
    other = Store.open(db_url)
    first, second = InstantBackend(auto=False), InstantBackend()
    try:
        async with running(store, objects, first) as leader, running(other, objects, second) as follower:
            assert leader.leading and not follower.leading
            submit()
            await until(lambda: len(first.created) == 1)
            assert second.created == []
            first.finish(first.created[0])
            await leader.stop()
            uid = submit("later").metadata.uid
            await until_phase(store, uid, Phase.SUCCEEDED, 15)
            assert follower.leading and len(second.created) == 1
    finally:
        other.close()


@pytest.mark.asyncio
async def test_cancel_before_start_and_while_running(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    limit_queue(store, running_jobs=1)
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        first, second = submit("a").metadata.uid, submit("b").metadata.uid
        await until_phase(store, first, Phase.RUNNING)
        cancel(store, second, "enough")
        assert (
            await until_phase(store, second, Phase.CANCELLED)
        ).status.message == "Cancelled by ada before it started: enough"
        cancel(store, first, "enough")
        ended = await until_phase(store, first, Phase.CANCELLED)
        assert ended.status.message == "Cancelled by ada: enough"
    assert len(backend.created) == 1


@pytest.mark.asyncio
async def test_what_fails_to_start_for_good_says_why_and_frees_its_place(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    limit_queue(store, running_jobs=1)
    backend = InstantBackend(fail_creates=1, permanent=True)
    async with running(store, objects, backend):
        first, second = submit("a", retries=Retries(limit=2)).metadata.uid, submit("b").metadata.uid
        failed = await until_phase(store, first, Phase.FAILED)
        await until_phase(store, second, Phase.SUCCEEDED)
    assert (failed.status.reason, failed.status.message) == ("BackendError", "no room on the runway")
    assert len(failed.status.attempts) == 1, "trying again is of no use"


@pytest.mark.asyncio
async def test_trouble_that_passes_fails_no_job_and_is_told_while_it_lasts(
    store: Store, objects: FilesystemStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob, "CREATE_SECONDS", 0.1)
    backend = InstantBackend(fail_creates=30)
    async with running(store, objects, backend):
        uid = submit("patient").metadata.uid
        await until(lambda: len(backend.tried) >= 8, 20)
        told = job_of(store, uid).status
        assert told.phase is Phase.ADMITTED
        assert told.message == "It could not be started yet, and that is tried again: no room on the runway"
        waits = next(one for one in told.conditions if one.type == "Created")
        assert (waits.status, waits.reason, waits.message) == ("False", "Waiting", told.message)
        ended = (await until_phase(store, uid, Phase.SUCCEEDED, 20)).status
    assert len(ended.attempts) == 1 and ended.message == ""
    assert next(one for one in ended.conditions if one.type == "Created").status == "True"


@pytest.mark.asyncio
async def test_a_backend_that_can_not_be_asked_is_waited_for_and_told(
    store: Store, objects: FilesystemStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob, "CREATE_SECONDS", 0.1)
    backend, away = InstantBackend(), [True]
    observe = backend.observe

    async def asked(ref: AttemptRef) -> Observation:
        if away:
            raise BackendError("the cluster is away")
        return await observe(ref)

    monkeypatch.setattr(backend, "observe", asked)
    async with running(store, objects, backend):
        uid = submit("patient").metadata.uid
        await until(lambda: "tried again: the cluster is away" in job_of(store, uid).status.message)
        assert job_of(store, uid).status.phase is Phase.ADMITTED and not backend.tried
        away.clear()
        await until_phase(store, uid, Phase.SUCCEEDED)


@pytest.mark.asyncio
async def test_who_asks_to_be_left_alone_is_left_alone_whatever_wakes_the_job(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend(fail_creates=1)
    backend.after = 3.0
    async with running(store, objects, backend) as manager:
        uid = submit("busy").metadata.uid
        await until(lambda: bool(backend.tried))
        for _ in range(10):
            manager._changed(AttemptRef(uid, 1))
            await asyncio.sleep(0.05)
        await until_phase(store, uid, Phase.SUCCEEDED)
    first, second = backend.tried
    assert second - first >= 3.0


@pytest.mark.asyncio
async def test_a_job_that_waits_for_its_backend_can_be_cancelled(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend(fail_creates=1000)
    backend.after = 600.0
    async with running(store, objects, backend):
        uid = submit("stuck").metadata.uid
        await until(lambda: bool(backend.tried))

        cancel(store, uid)
        await until_phase(store, uid, Phase.CANCELLED)


@pytest.mark.asyncio
async def test_infrastructure_failures_are_retried_and_code_errors_are_not(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        lost = submit("lost", retries=Retries(limit=1)).metadata.uid
        await until(lambda: AttemptRef(lost, 1) in backend.known)
        backend.finish(AttemptRef(lost, 1), "", {"signal": 9})
        await until(lambda: AttemptRef(lost, 2) in backend.known)
        backend.finish(AttemptRef(lost, 2), "", {"signal": 9})
        ended = await until_phase(store, lost, Phase.FAILED)
        assert [attempt.reason.value for attempt in ended.status.attempts if attempt.reason] == ["RunnerLost"] * 2
        wrong = submit("wrong", retries=Retries(limit=3)).metadata.uid
        await until(lambda: AttemptRef(wrong, 1) in backend.known)
        backend.finish(AttemptRef(wrong, 1), "error")
        assert len((await until_phase(store, wrong, Phase.FAILED)).status.attempts) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["InputsReady", "PodStarted"])
async def test_what_holds_up_the_start_is_told_until_it_runs(
    store: Store, objects: FilesystemStore, submit: Submit, kind: str
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        holdup = {"type": kind, "status": "False", "reason": "Preparing", "message": "they are being brought"}
        backend.begins = lambda ref: Observation(ref, "starting", conditions=[holdup])
        uid = submit().metadata.uid
        ref = AttemptRef(uid, 1)
        await until(lambda: store.read(lambda r: r.by_uid(TrainJob, uid)).status.message == "they are being brought")
        assert store.read(lambda reader: reader.by_uid(TrainJob, uid)).status.phase is Phase.ADMITTED
        backend.known[ref] = Observation(
            ref, "running", image_digest="lab@sha256:1", conditions=[{**holdup, "status": "True"}]
        )
        backend._changed(ref)
        job = await until_phase(store, uid, Phase.RUNNING)
    assert job.status.message == ""
    assert job.status.image_digest == "lab@sha256:1"


@pytest.mark.asyncio
async def test_what_vanishes_from_the_backend_is_not_started_twice(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        await until_phase(store, uid, Phase.RUNNING)
        backend.known.clear()
        backend._changed(AttemptRef(uid, 1))
        job = await until_phase(store, uid, Phase.FAILED)
    assert job.status.reason == "DeletedExternally"
    assert len(backend.created) == 1


@pytest.mark.asyncio
async def test_what_a_killed_controller_created_is_not_started_twice_either(
    store: Store, objects: FilesystemStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died behind ``create`` and before it noted that; then somebody removed what it had made."""
    backend, create = InstantBackend(auto=False), InstantBackend.create

    async def create_and_die(self: InstantBackend, request: AttemptRequest) -> None:
        await create(self, request)
        raise KilledError

    monkeypatch.setattr(InstantBackend, "create", create_and_die)
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        await until(lambda: len(backend.created) == 1)
    monkeypatch.setattr(InstantBackend, "create", create)
    async with running(store, objects, backend):
        await until_phase(store, uid, Phase.RUNNING)
        backend.known.clear()
        backend._changed(AttemptRef(uid, 1))
        job = await until_phase(store, uid, Phase.FAILED)
    assert job.status.reason == "DeletedExternally" and len(backend.created) == 1


class KilledError(Exception):
    """As if the process had ended here."""


@pytest.mark.asyncio
async def test_a_killed_controller_converges_when_it_starts_again(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        await until(lambda: AttemptRef(uid, 1) in backend.known)
    backend.finish(AttemptRef(uid, 1))
    orphan = AttemptRef("11111111-1111-1111-1111-111111111111", 1)
    backend.finish(orphan)
    async with running(store, objects, backend):
        await until_phase(store, uid, Phase.SUCCEEDED)
        await until(lambda: not backend.known)
    assert backend.created == [AttemptRef(uid, 1)]


class SlowToList(FilesystemStore):
    """What an attempt left takes long to be measured, until ``go``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked, self.go = threading.Event(), threading.Event()

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        self.asked.set()
        assert self.go.wait(60)
        return super().list(prefix, after=after, limit=limit)


@pytest.mark.asyncio
async def test_an_end_that_is_told_late_ends_no_other_attempt(store: Store, tmp_path: Path, submit: Submit) -> None:
    """Another server told it meanwhile, and the next attempt is live already."""
    backend, objects = InstantBackend(auto=False), SlowToList(tmp_path / "slow")
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        await until(lambda: AttemptRef(uid, 1) in backend.known)
        backend.finish(AttemptRef(uid, 1))
        await until(objects.asked.is_set)

        def go_on(writer: Writer) -> None:
            job = writer.by_uid(TrainJob, uid)
            first = job.status.attempts[0]
            first.end = utc_now()
            job.status.attempts.append(first.model_copy(update={"number": 2, "end": None, "start": None}))
            writer.update(job, check=False)

        store.write(go_on)
        objects.go.set()
        await until(lambda: AttemptRef(uid, 2) in backend.created)
        job = job_of(store, uid)
        assert job.status.attempts[1].end is None and not job.status.phase.final
        backend.finish(AttemptRef(uid, 2))
        await until_phase(store, uid, Phase.SUCCEEDED)
    assert backend.created == [AttemptRef(uid, 1), AttemptRef(uid, 2)]


@pytest.mark.asyncio
async def test_an_attempt_that_a_backend_can_not_remove_keeps_no_other(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    class Stubborn(InstantBackend):
        async def delete(self, ref: AttemptRef) -> None:
            if ref.uid.startswith("1"):
                raise BackendError("it is still being put in order")
            await super().delete(ref)

    backend = Stubborn()
    kept, goes = (AttemptRef(f"{n}1111111-1111-1111-1111-111111111111", 1) for n in (1, 2))
    backend.finish(kept)
    backend.finish(goes)
    async with running(store, objects, backend):
        await until(lambda: set(backend.known) == {kept})


@pytest.mark.asyncio
async def test_where_others_may_have_attempts_those_of_jobs_nobody_knows_stay(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    """Two servers with records of their own may share a cluster's namespace."""
    backend = InstantBackend()
    backend.theirs = {AttemptRef("11111111-1111-1111-1111-111111111111", 1)}
    (strangers,) = backend.theirs
    ours = AttemptRef("22222222-2222-2222-2222-222222222222", 1)
    backend.finish(ours)
    backend.finish(strangers)
    async with running(store, objects, backend):
        uid = submit().metadata.uid
        await until_phase(store, uid, Phase.SUCCEEDED)
        await until(lambda: set(backend.known) == {strangers})
        assert backend.record == store.write(lambda writer: writer.record_id())
    backend.finish(AttemptRef(uid, 1))  # as if its removal had been lost
    async with running(store, objects, backend):
        await until(lambda: set(backend.known) == {strangers})


@pytest.mark.asyncio
async def test_dependencies_hold_release_and_explain(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend) as manager:
        parent = submit("parent").metadata.uid
        child = submit("child", scheduling_gates=[Gate(type="dependency", job=parent)]).metadata.uid
        other = submit("other", scheduling_gates=[Gate(type="dependency", job=parent, condition="failed")]).metadata.uid
        await until_phase(store, parent, Phase.RUNNING)
        told = await manager.ranking.explain(job_of(store, child))
        assert told.position is None and "waits until job" in told.waiting_for
        backend.finish(AttemptRef(parent, 1))
        await until(lambda: AttemptRef(child, 1) in backend.known)
        failed = await until_phase(store, other, Phase.FAILED)
    assert failed.status.reason == "DependencyFailed"
    assert failed.status.message.endswith("has failed, but that job has ended as Succeeded.")
    assert failed.status.attempts == []


@pytest.mark.asyncio
async def test_deleting_removes_objects_and_what_belonged_to_it(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend()
    async with running(store, objects, backend):
        parent = submit("parent")
        await until_phase(store, parent.metadata.uid, Phase.SUCCEEDED)
        child = make_job("child", scheduling_gates=[Gate(type="hold")])
        child.metadata.owner_references = [
            OwnerReference(kind="TrainJob", name=parent.metadata.name, uid=parent.metadata.uid)
        ]
        child_uid = store.write(lambda writer: writer.create(child)).metadata.uid
        objects.put(f"jobs/{parent.metadata.uid}/1/files/a.txt", b"a")

        def mark(writer: object) -> None:
            job = writer.by_uid(TrainJob, parent.metadata.uid)  # type: ignore[attr-defined]
            job.metadata.deletion_timestamp = utc_now()
            writer.update(job)  # type: ignore[attr-defined]

        store.write(mark)
        await until(lambda: gone(store, parent.metadata.uid))
        await until(lambda: gone(store, child_uid))
    assert list(objects.list(f"jobs/{parent.metadata.uid}/")) == []


@pytest.mark.asyncio
async def test_retention_by_age_and_count_keeps_what_is_labelled(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = InstantBackend()
    async with running(store, objects, backend):
        jobs = [submit(f"j{n}") for n in range(5)]
        for job in jobs:
            await until_phase(store, job.metadata.uid, Phase.SUCCEEDED)

        def keep(writer: object) -> None:
            job = writer.by_uid(TrainJob, jobs[0].metadata.uid)  # type: ignore[attr-defined]
            job.metadata.labels["jupyter-trainjob/keep"] = "true"
            writer.update(job)  # type: ignore[attr-defined]

        store.write(keep)
        rules = RetentionController(store, Retention(max_age_days=None, max_jobs_per_namespace=2))
        assert await rules.reconcile(utc_now()) == 2
        await until(lambda: gone(store, jobs[1].metadata.uid) and gone(store, jobs[2].metadata.uid))
        old = RetentionController(store, Retention(max_age_days=1, max_jobs_per_namespace=None))
        assert await old.reconcile(utc_now()) == 0
        assert await old.reconcile(utc_now() + timedelta(days=2)) == 2
        await until(lambda: gone(store, jobs[4].metadata.uid))
    assert not gone(store, jobs[0].metadata.uid)


@pytest.mark.asyncio
async def test_use_is_counted_from_the_record(store: Store, objects: FilesystemStore, submit: Submit) -> None:
    limit_queue(store, running_jobs=1)
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend) as manager:
        submit("a", cpu="500m")
        submit("b", owner="bob")
        await until(lambda: len(backend.created) == 1)
        everybody, bobs = await manager.ranking.queue_uses(None, "bob")
        use = everybody["default"]
        assert (use.running_jobs, use.queued_jobs, use.cpu, use.memory) == (1, 1, "500m", "1Gi")
        assert bobs["default"].queued_jobs == 1
        waiting = store.read(lambda reader: reader.list(TrainJob, Filter(owner="bob"))).items[0]
        told = await manager.ranking.explain(waiting)
        assert told.position == 1
        assert told.waiting_for.startswith("Queue default allows 1 running job and has 1; at the latest in about")
        assert store.read(lambda reader: reader.get(Queue, "", "default")).status.use is None


class Busy(InstantBackend):
    """A cluster that takes its time over each attempt, however many it is asked for."""

    def __init__(self) -> None:
        super().__init__(cpus=64)
        self.under_way, self.go = 0, asyncio.Event()

    async def create(self, request: AttemptRequest) -> None:
        self.under_way += 1
        await self.go.wait()
        await super().create(request)


@pytest.mark.asyncio
async def test_a_slow_backend_is_asked_for_many_jobs_at_once(
    store: Store, objects: FilesystemStore, submit: Submit
) -> None:
    backend = Busy()
    async with running(store, objects, backend):
        uids = [submit().metadata.uid for _ in range(24)]
        await until(lambda: backend.under_way == len(uids))
        backend.go.set()
        for uid in uids:
            await until_phase(store, uid, Phase.SUCCEEDED)
