"""The backend on a real API server without nodes: what it makes there, and what it makes of what others do."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from tests.backends.place import a_request

from .apiserver import ApiServer, Fault, Proxy
from .attempts import IMAGES
from .test_delivery import SigningFilesystem

pytestmark = pytest.mark.asyncio

SECRETS, JOBS, PODS = "/api/v1/namespaces/default/secrets", "/apis/batch/v1/namespaces/default/jobs", "/pods"


class Place:
    """A backend of an installation of its own; :meth:`again` is the next server of it."""

    def __init__(self, apiserver: ApiServer, proxy: Proxy, folder: Path) -> None:
        self.proxy, self.store = proxy, SigningFilesystem(folder)
        config = apiserver.kubeconfig("admin", proxy.url)
        self.settings = KubernetesSettings(
            namespace="default", kubeconfig=config, images=IMAGES, installation=uuid.uuid4().hex
        )
        self.backend = KubernetesBackend(name="cluster", settings=self.settings)

    async def start(self) -> KubernetesBackend:
        await self.backend.start(self.store, lambda ref: None)
        return self.backend

    async def again(self) -> KubernetesBackend:
        await self.backend.stop()
        self.backend = KubernetesBackend(name="cluster", settings=self.settings)
        return await self.start()

    def fault(self, method: str, part: str, **what: Any) -> None:
        self.proxy.faults.append(Fault(lambda how, path: how == method and part in path, **what))

    async def secret(self, ref: AttemptRef) -> dict[str, Any]:
        return (await self.backend._api.request("GET", f"{SECRETS}/{ref.name}")).body

    async def until(self, wanted: Callable[[], Any], seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not await wanted():
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def place(apiserver: ApiServer, proxy: Proxy, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(apiserver, proxy, tmp_path)
    await made.start()
    yield made
    proxy.faults = []
    for ref in await made.backend.attempts():
        await made.backend.delete(ref)
    await made.backend.stop()


def a_job() -> AttemptRequest:
    return a_request(uuid.uuid4().hex, "print(1)")


async def test_a_secret_that_is_just_being_removed_is_made_another_time(place: Place) -> None:
    request = a_job()
    place.fault("POST", SECRETS, status=409, body={"reason": "AlreadyExists"})
    with pytest.raises(BackendError, match=r"of an earlier try was just being removed; it is made again") as told:
        await place.backend.create(request)
    assert not told.value.permanent
    await place.backend.create(request)
    assert (await place.secret(request.ref))["data"]


@pytest.mark.parametrize("path", [SECRETS, JOBS])
async def test_a_conflict_is_not_taken_for_an_object_that_is_there(place: Place, path: str) -> None:
    request = a_job()
    place.fault("POST", path, status=409, body={"reason": "Conflict", "message": "the quota was modified"})
    with pytest.raises(BackendError, match=r"just now, and is asked again: the quota was modified") as told:
        await place.backend.create(request)
    assert not told.value.permanent
    assert await place.backend.attempts() == [request.ref], "so that nothing of it stays if nobody tries again"
    await place.backend.create(request)
    assert (await place.backend.observe(request.ref)).state == "starting"


async def test_a_secret_without_a_job_is_found_when_the_cluster_answers_late(place: Place) -> None:
    request = a_job()
    place.fault("POST", JOBS, status=409, body={"reason": "Conflict"})
    with pytest.raises(BackendError):
        await place.backend.create(request)
    place.fault("GET", f"{JOBS}?limit", status=500)
    backend = await place.again()
    assert await backend.attempts() == []

    async def found() -> bool:
        return await backend.attempts() == [request.ref]

    await place.until(found)
    await backend.delete(request.ref)
    assert (await place.secret(request.ref))["reason"] == "NotFound"


async def test_nothing_is_signed_for_orders_that_somebody_changed(place: Place) -> None:
    request = a_job()
    await place.backend.create(request)
    job = place.backend._jobs.objects[request.ref.name]
    before = await place.secret(request.ref)
    credentials = json.loads(base64.b64decode(before["data"]["credentials.json"]))
    credentials["gets"]["blobs/eve/exam"] = {"url": "", "expires": 0}
    data = {"credentials.json": base64.b64encode(json.dumps(credentials).encode()).decode()}
    path = f"{SECRETS}/{request.ref.name}"
    await place.backend._api.request("PATCH", path, body={"data": data}, content_type=MERGE_PATCH)
    await place.backend._secrets.renew(request.ref, job)
    after = json.loads(base64.b64decode((await place.secret(request.ref))["data"]["credentials.json"]))
    assert after["gets"] == {} and after["post"]["prefix"] == f"jobs/{request.ref.uid}/1/"
    orders = json.loads(base64.b64decode(before["data"]["orders.json"]))
    orders["inputs"].append({"get": "blobs/eve/exam", "path": "exam"})
    data = {"orders.json": base64.b64encode(json.dumps(orders).encode()).decode()}
    await place.backend._api.request("PATCH", path, body={"data": data}, content_type=MERGE_PATCH)
    with pytest.raises(BackendError, match=r"not those that its Job was made with: somebody changed them"):
        await place.backend._secrets.renew(request.ref, job)
