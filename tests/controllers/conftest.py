"""Fixtures: ``store`` (real SQLite), ``objects`` (real files), ``world`` (a manager over both)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import Backend
from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.controllers.manager import ControllerManager, utc_now
from jupyter_trainjob.controllers.retention import Retention
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Cancel, CellSource, Phase, Resources, TrainJob, TrainJobSpec
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store, Writer


@pytest.fixture
def db_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'record.sqlite'}"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds here until a job is tried again."""
    monkeypatch.setattr("jupyter_trainjob.controllers.report.RETRY_SECONDS", 0.05)


@pytest.fixture
def store(db_url: str) -> Iterator[Store]:
    opened = Store.open(db_url)
    opened.write(lambda writer: ensure_defaults(writer, "default", "default"))
    yield opened
    opened.close()


@pytest.fixture
def objects(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "objects")


def make_job(short: str = "j", *, owner: str = "ada", queue: str = "default", cpu: str = "1", **spec: Any) -> TrainJob:
    """A job as the API would write it."""
    job = TrainJob(
        metadata=ObjectMeta(generate_name=short, namespace=owner, owner=owner),
        spec=TrainJobSpec(
            source=CellSource(code="print(1)"),
            queue=queue,
            resources=Resources(cpu=cpu, memory="1Gi"),
            time_limit_seconds=60,
            **spec,
        ),
    )
    job.status.queued = utc_now()
    return job


@pytest.fixture
def submit(store: Store) -> Callable[..., TrainJob]:
    def create(*args: Any, **kwargs: Any) -> TrainJob:
        job = make_job(*args, **kwargs)
        return store.write(lambda writer: writer.create(job))

    return create


def job_of(store: Store, uid: str) -> TrainJob:
    """The job as it is recorded now."""
    return store.read(lambda reader: reader.by_uid(TrainJob, uid))


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until ``condition()`` is true, looking through a thread so that the loop goes on."""
    for _ in range(int(seconds / 0.01)):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")


async def until_phase(store: Store, uid: str, phase: Phase, seconds: float = 10.0) -> TrainJob:
    await until(lambda: job_of(store, uid).status.phase is phase, seconds)
    return job_of(store, uid)


@asynccontextmanager
async def running(
    store: Store, objects: FilesystemStore, backend: Backend, retention: Retention | None = None
) -> AsyncIterator[ControllerManager]:
    """A started manager."""
    manager = ControllerManager(
        store, objects, {"local": backend}, retention=retention, log=logging.getLogger("test.manager")
    )
    await manager.start()
    try:
        yield manager
    finally:
        await manager.stop()


def limit_queue(store: Store, **limits: Any) -> None:
    """Change the default queue's limits as the API does."""

    def change(writer: Any) -> None:
        queue = writer.get(Queue, "", "default")
        queue.spec.limits = type(queue.spec.limits)(**limits)
        writer.update(queue)
        writer.advance_scheduler_epoch(None)

    store.write(change)


def cancel(store: Store, uid: str, message: str = "") -> None:
    """As the API does it, for ada."""

    def change(writer: Writer) -> None:
        job = writer.by_uid(TrainJob, uid)
        job.spec.cancel = Cancel(requested_at=utc_now(), by="ada", message=message)
        writer.update(job)

    store.write(change)
