"""A job of Kueue's on a real API server that has no Kueue: it waits, says so, and costs nothing meanwhile."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import kueue as module
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH, Connection
from jupyter_trainjob.backends.kubernetes.kueue import Kueue

from .test_backend_api import Place, a_job, place  # noqa: F401 - the fixture

pytestmark = pytest.mark.asyncio


async def test_a_cluster_without_kueue_is_told_when_a_queue_is_made(place: Place) -> None:  # noqa: F811
    with pytest.raises(BackendError, match=r"^Kueue is not installed in the cluster\. Install it, or leave") as told:
        await place.backend.check_kueue("jobs", [])
    assert told.value.permanent
    place.fault("GET", "/apis/kueue.x-k8s.io", status=503, times=100)
    with pytest.raises(BackendError) as unknown:
        await place.backend.check_kueue("jobs", [])
    assert not unknown.value.permanent


async def test_a_job_that_nobody_admits_waits_says_so_and_can_be_cancelled(place: Place) -> None:  # noqa: F811
    request = replace(a_job(), local_queue="jobs")
    await place.backend.create(request)
    assert (await place.backend.observe(request.ref)).state == "queued"
    assert not place.backend._follower.wanted(request.ref), "its state is not looked for in the store"
    told = (await place.backend.places([request.ref]))[request.ref]
    assert told.position is None
    assert told.message == (
        "Kueue (LocalQueue jobs): Kueue is not installed in the cluster, or can't be asked, so nothing admits it"
    )
    before = place.backend.describe()["requests"]
    for _ in range(20):
        await place.backend.places([request.ref])
        await place.backend.observe(request.ref)
    assert place.backend.describe()["requests"] - before <= 2, "who looks often asks the cluster seldom"

    backend = await place.again()
    assert (await backend.observe(request.ref)).state == "queued"
    await backend.cancel(request.ref, "wrong data")
    made = (await backend._api.request("GET", f"/apis/batch/v1/namespaces/default/jobs/{request.ref.name}")).body
    assert (made["spec"]["suspend"], made["spec"]["parallelism"]) == (True, 0)

    async def over() -> bool:
        return (await backend.observe(request.ref)).state == "ended"

    await place.until(over)
    assert (await backend.observe(request.ref)).evidence["cancelled"] == "wrong data"


# A cluster whose Kueue is upgraded while we run

TYPES = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def version(name: str, **more: Any) -> dict[str, Any]:
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"name": name, "served": True, "storage": True, "schema": anything, **more}


async def until(wanted: Callable[[], Awaitable[Any]], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await wanted():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_kueue_may_be_upgraded_while_a_server_runs(api: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    group = f"kueue-{uuid.uuid4().hex[:8]}.example.org"
    monkeypatch.setattr(module, "GROUP", group)
    kinds = {"localqueues": "LocalQueue", "workloads": "Workload"}

    def root(which: str, plural: str) -> str:
        return f"/apis/{group}/{which}/namespaces/default/{plural}"

    async def make(which: str, plural: str, name: str) -> None:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": f"job-{name}", "uid": str(uuid.uuid4())}
        meta = {"name": name, "ownerReferences": [owner]}
        body = {"apiVersion": f"{group}/{which}", "kind": kinds[plural], "metadata": meta}
        assert (await api.request("POST", root(which, plural), body=body)).ok

    async def serves(which: str) -> bool:
        return all([(await api.request("GET", root(which, plural))).ok for plural in kinds])

    for plural, kind in kinds.items():
        names = {"plural": plural, "singular": kind.lower(), "kind": kind}
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version("v1beta1")]}
        made = {"kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"}, "spec": spec}
        assert (await api.request("POST", TYPES, body={"apiVersion": "apiextensions.k8s.io/v1", **made})).ok
    await until(lambda: serves("v1beta1"))
    await make("v1beta1", "localqueues", "jobs")
    await make("v1beta1", "workloads", "first")
    kueue = Kueue(api, "default", lambda name: None)
    try:
        await kueue.check("jobs", [])
        kueue.notice()
        await until(lambda: knows(kueue, "job-first"))

        both = [version("v1beta1", served=False, storage=False), version("v1beta2")]
        for plural in kinds:
            patch = {"spec": {"versions": both}}
            assert (await api.request("PATCH", f"{TYPES}/{plural}.{group}", body=patch, content_type=MERGE_PATCH)).ok
        await until(lambda: serves("v1beta2"))

        async def is_over() -> bool:
            return not (await api.request("GET", root("v1beta1", "localqueues"))).ok

        await until(is_over)
        await kueue.check("jobs", [])
        with pytest.raises(BackendError, match=r"has no LocalQueue 'absent'\. Make it first"):
            await kueue.check("absent", [])
        await make("v1beta2", "workloads", "second")
        await until(lambda: knows(kueue, "job-second"))
    finally:
        await kueue.stop()
        for plural in kinds:
            await api.request("DELETE", f"{TYPES}/{plural}.{group}")


async def knows(kueue: Kueue, job: str) -> bool:
    return job in kueue._workloads
