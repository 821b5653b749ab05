"""What the controller does at gates by itself, and tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.resources.trainjob import Gate, Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import running, until, until_phase
from .instant import InstantBackend


@pytest.mark.asyncio
async def test_a_job_that_nobody_approves_ends_and_the_audit_log_tells_it(
    store: Store, objects: FilesystemStore, submit: Callable[..., TrainJob], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jupyter_trainjob.audit")
    gate = Gate(type="approval", message="it waits for an approval", until=utc_now() + timedelta(seconds=0.2))

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "jupyter_trainjob.audit"]

    async with running(store, objects, InstantBackend()):
        job = await until_phase(store, submit("j", scheduling_gates=[gate]).metadata.uid, Phase.FAILED)
        await until(told)
    assert told() == [
        f"(the server) expire TrainJob ada/{job.metadata.name} (of ada): nobody approved it in time",
    ]


@pytest.mark.asyncio
async def test_nobody_need_approve_what_can_run_no_more(
    store: Store, objects: FilesystemStore, submit: Callable[..., TrainJob]
) -> None:
    """Its parent has failed: it says so at once, and does not wait for an instructor first."""
    gate = Gate(type="approval", message="it waits for an approval", until=utc_now() + timedelta(days=1))
    backend = InstantBackend(auto=False)
    async with running(store, objects, backend):
        parent = submit("parent").metadata.uid
        child = submit("child", scheduling_gates=[Gate(type="dependency", job=parent), gate]).metadata.uid
        await until(lambda: len(backend.created) == 1)
        backend.finish(backend.created[0], "error")
        job = await until_phase(store, child, Phase.FAILED)
    assert job.status.reason == "DependencyFailed"
