"""Outputs that a job is still to read are kept, whoever wants them gone; they are settled when the other has ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jupyter_trainjob.controllers import gates, needs
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.retention import Retention, RetentionController
from jupyter_trainjob.resources.outcome import OutputFile, OutputStatus
from jupyter_trainjob.resources.trainjob import Attempt, Gate, OutputInput, Phase, Retries, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Filter, Store

from .conftest import job_of, make_job, running, until
from .instant import InstantBackend


def ended(store: Store, phase: Phase = Phase.SUCCEEDED, attempts: int = 1) -> str:
    job = make_job("parent")
    job.status.phase = phase
    job.status.finished = utc_now()
    job.status.attempts = [Attempt(number=number, backend="local", end=utc_now()) for number in range(1, attempts + 1)]
    return store.write(lambda writer: writer.create(job)).metadata.uid


def reading(store: Store, parent: str, attempt: int | None = 1, file: str = ".", **spec: Any) -> str:
    spec.setdefault("scheduling_gates", [Gate(type="hold", message="later")])
    job = make_job("child", inputs=[OutputInput(job=parent, file=file, path="data", attempt=attempt)], **spec)
    return store.write(lambda writer: writer.create(job)).metadata.uid


def end(store: Store, uid: str) -> None:
    def change(writer: Any) -> None:
        job = writer.by_uid(TrainJob, uid)
        job.status.phase = Phase.CANCELLED
        writer.update(job)

    store.write(change)


@pytest.mark.asyncio
async def test_retention_leaves_what_a_waiting_job_reads(store: Store) -> None:
    needed, other = ended(store), ended(store)
    child = reading(store, needed)
    for rules in (Retention(max_age_days=1, max_jobs_per_namespace=None), Retention(None, max_jobs_per_namespace=1)):
        await RetentionController(store, rules).reconcile(utc_now() + timedelta(days=2))
        assert job_of(store, needed).metadata.deletion_timestamp is None
    assert job_of(store, other).metadata.deletion_timestamp is not None
    end(store, child)
    await RetentionController(store, Retention(1, None)).reconcile(utc_now() + timedelta(days=2))
    assert job_of(store, needed).metadata.deletion_timestamp is not None


@pytest.mark.asyncio
async def test_a_deleted_jobs_outputs_stay_until_the_last_reader_has_ended(
    store: Store, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_trainjob.controllers.trainjob.NEEDED_SECONDS", 0.05)
    parent = ended(store)
    objects.put(f"jobs/{parent}/1/files/a", b"a")
    child = reading(store, parent)

    def delete(writer: Any) -> None:
        job = writer.by_uid(TrainJob, parent)
        job.metadata.deletion_timestamp = utc_now()
        writer.update(job)

    async with running(store, objects, InstantBackend()):
        store.write(delete)
        for _ in range(3):
            await until(lambda: needs_settled(store, parent))
        assert objects.exists(f"jobs/{parent}/1/files/a")
        end(store, child)
        await until(lambda: not store.read(lambda reader: reader.count(TrainJob, Filter(phases=["Succeeded"]))))
    assert not objects.exists(f"jobs/{parent}/1/files/a")


def needs_settled(store: Store, uid: str) -> bool:
    return store.read(lambda reader: needs.is_needed(reader, uid))


def test_the_attempt_is_noted_when_the_gate_opens(store: Store) -> None:
    parent = ended(store, attempts=3)
    gate = Gate(type="dependency", job=parent)
    child = reading(store, parent, None, scheduling_gates=[gate])
    store.write(lambda writer: gates.settle(writer, child, utc_now()))
    job = job_of(store, child)
    assert job.spec.scheduling_gates == []
    assert [item.attempt for item in job.spec.inputs] == [3]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("left", "file", "total", "said"),
    [
        ([], ".", 0, "has ended and left no files. Submit it again with"),
        ([], "x", 0, "has ended and left no file and no folder 'x'. Submit it again with"),
        (["m.pt", "t/a"], "mm.pt", 2, "left no file and no folder 'mm.pt'. It left: m.pt, t/a. Submit it again with"),
        (["m.pt", "t/a"], "m.pt", 2, ""),
        (["m.pt", "t/a"], "t", 2, ""),
        (["m.pt", "t/a"], ".", 2, ""),
        (["m.pt", "t/a"], "x", 3, ""),
    ],
)
def test_what_the_other_job_did_not_leave_ends_the_job_at_once(
    store: Store, left: list[str], file: str, total: int, said: str
) -> None:
    parent = ended(store)

    def leave(writer: Any) -> None:
        job = writer.by_uid(TrainJob, parent)
        job.status.outputs = OutputStatus(files=[OutputFile(path=path, size=1) for path in left], files_total=total)
        writer.update(job)

    store.write(leave)
    gates_ = [Gate(type="dependency", job=parent)]
    child = reading(store, parent, None, file, scheduling_gates=gates_, retries=Retries(limit=2))
    store.write(lambda writer: gates.settle(writer, child, utc_now()))
    job = job_of(store, child)
    if said:
        assert (job.status.phase, job.status.reason) == (Phase.FAILED, "DependencyFailed")
        assert (
            f"It was to read 'data' from {job_of(store, parent).metadata.name}, which has ended" in job.status.message
        )
    assert said in job.status.message and (job.status.phase is Phase.QUEUED) is not bool(said)


def test_a_job_that_never_started_leaves_nothing_to_read(store: Store) -> None:
    parent = ended(store, Phase.CANCELLED, attempts=0)
    gate = Gate(type="dependency", job=parent, condition="finished")
    child = reading(store, parent, None, scheduling_gates=[gate])
    store.write(lambda writer: gates.settle(writer, child, utc_now()))
    job = job_of(store, child)
    assert (job.status.phase, job.status.reason) == (Phase.FAILED, "DependencyFailed")
    name = job_of(store, parent).metadata.name
    assert job.status.message == f"It was to read what {name} leaves, but that job ended before it started."
