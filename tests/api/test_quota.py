"""What a namespace may keep: uploads, logs and outputs together. What a job left stays; what is new waits for room."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_trainjob.api import quota as quota_module
from jupyter_trainjob.api.identity import Identity
from jupyter_trainjob.api.quota import NamespaceQuota
from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Reader, Writer

from .conftest import Caller, Run, Submit, cell
from .test_bundles import bundle

pytestmark = pytest.mark.asyncio

LIMIT = 10_000


@pytest.fixture(autouse=True)
def quota(services: Services) -> Iterator[NamespaceQuota]:
    services.submission.quota.limit_bytes = LIMIT
    yield services.submission.quota


async def leave(services: Services, job: dict[str, Any], *sizes: int) -> None:
    """Write into the record what a controller measures at the end of an attempt."""

    def write(writer: Any) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        for attempt, size in zip(fresh.status.attempts, sizes, strict=True):
            attempt.stored_bytes = size
        writer.update(fresh)

    await services.store.awrite(write)


def blob(data: bytes) -> str:
    return f"/blobs/sha256:{hashlib.sha256(data).hexdigest()}"


async def test_beyond_the_limit_nothing_new_is_taken_until_something_goes(
    alice: Caller, bob: Caller, submit: Submit, run: Run, services: Services
) -> None:
    await alice("PUT", blob(b"1" * 4000), content=b"1" * 4000, expect=201)
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    await leave(services, job, 7000)
    me = (await alice("GET", "/me", expect=200)).json()
    assert (me["storedBytes"], me["namespaceStoredBytes"], me["limits"]["namespaceStoredBytes"]) == (
        4000,
        11_000,
        LIMIT,
    )

    told = await alice.refused("POST", "/namespaces/alice/trainjobs", 429, json=cell())
    assert told["message"] == (
        "The namespace 'alice' keeps 11000 bytes of uploads, logs and outputs; its limit is 10000."
    )
    assert told["remedy"].startswith("Delete jobs whose outputs you no longer need")
    assert told["data"] == {"limit": LIMIT, "used": 11_000, "requested": 0}
    await alice.refused("POST", "/namespaces/alice/trainjobs?dryRun=true", 429, json=cell())
    await alice.refused("POST", f"/namespaces/alice/trainjobs/{job['metadata']['uid']}/retry", 429, json={})
    for method, path, body in (("PUT", blob(b"x"), b"x"), ("PUT", "/bundles", bundle(b"y"))):
        told = await alice.refused(method, path, 429, content=body)
        assert "its limit is 10000, and 1 more bytes have no room" in told["message"]
    await alice("PUT", blob(b"1" * 4000), content=b"1" * 4000, expect=200)  # it is there already
    await submit(bob)

    await leave(services, job, 5000)
    await alice("PUT", blob(b"x"), content=b"x", expect=201)
    await submit(alice)
    told = await alice.refused("PUT", blob(b"z" * 1000), 429, content=b"z" * 1000)
    assert told["data"] == {"limit": LIMIT, "used": 9001, "requested": 1000}


async def test_what_was_counted_follows_the_record(
    alice: Caller, submit: Submit, run: Run, services: Services, quota: NamespaceQuota
) -> None:
    jobs = [await submit(alice) for _ in range(3)]
    for job in jobs:
        await run(job, Phase.SUCCEEDED)
    assert (await alice("GET", "/me")).json()["namespaceStoredBytes"] == 0
    for number, job in enumerate(jobs):
        await leave(services, job, 100 * 10**number)
    assert (await alice("GET", "/me")).json()["namespaceStoredBytes"] == 11_100

    def remove(writer: Any) -> None:
        writer.remove(writer.by_uid(TrainJob, jobs[2]["metadata"]["uid"]))

    await services.store.awrite(remove)
    assert (await alice("GET", "/me")).json()["namespaceStoredBytes"] == 1_100
    fresh = NamespaceQuota(LIMIT)  # a server that has just started
    identity = Identity("alice")
    assert await services.store.aread(lambda reader: fresh.used(reader, identity, "alice")) == 1_100


async def test_no_write_waits_for_the_first_look_at_a_namespace(
    alice: Caller, submit: Submit, services: Services, quota: NamespaceQuota, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through all of its jobs: with ten thousand of them everybody's writes would stand still."""
    await submit(alice)
    looks: list[str] = []

    def look(reader: Reader, namespace: str) -> Any:
        looks.append("writing" if isinstance(reader, Writer) else "reading")
        return real(reader, namespace)

    real = quota_module._look
    monkeypatch.setattr(quota_module, "_look", look)
    for send in ("submit", "blob", "bundle"):
        quota._spaces.clear()
        if send == "submit":
            await submit(alice)
        elif send == "blob":
            await alice("PUT", blob(b"1"), content=b"1", expect=201)
        else:
            await alice("PUT", "/bundles", content=bundle(b"2"), expect=200)
    assert looks == ["reading"] * 3


async def test_a_look_that_takes_long_holds_nobody_up(
    alice: Caller, submit: Submit, services: Services, quota: NamespaceQuota, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(alice)
    begun, go, real = threading.Event(), threading.Event(), quota_module._look

    def look(reader: Reader, namespace: str) -> Any:
        if not begun.is_set():
            begun.set()
            assert go.wait(20)
        return real(reader, namespace)

    monkeypatch.setattr(quota_module, "_look", look)
    quota._spaces.clear()
    slow = asyncio.ensure_future(services.store.aread(lambda reader: quota.used(reader, Identity("alice"), "alice")))
    await asyncio.to_thread(begun.wait, 10)
    await asyncio.wait_for(submit(alice), 10)
    go.set()
    assert await slow == 0


async def test_without_a_limit_nothing_is_counted(alice: Caller, quota: NamespaceQuota) -> None:
    quota.limit_bytes = 0
    me = (await alice("GET", "/me")).json()
    assert me["namespaceStoredBytes"] is None
    assert me["limits"]["namespaceStoredBytes"] == 0
