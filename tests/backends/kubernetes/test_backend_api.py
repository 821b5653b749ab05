"""The backend on a real API server without nodes: what it makes there, and what it makes of what others do."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError, Observation
from jupyter_trainjob.backends.kubernetes import backend as backend_module
from jupyter_trainjob.backends.kubernetes import handover as module
from jupyter_trainjob.backends.kubernetes import lanes, objects
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.storage.loglayout import segment_key
from tests.backends.place import a_request
from tests.storage.servers import S3Server, minio, own_minio, versitygw  # noqa: F401

from .apiserver import ApiServer, Fault, Proxy
from .attempts import IMAGES
from .test_delivery import SigningFilesystem
from .test_harvest import a_state

pytestmark = pytest.mark.asyncio

SECRETS, PODS = "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/pods"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
T0 = "2026-11-22T10:00:00Z"


class Place:
    """A backend of an installation of its own; :meth:`again` is the next server of it, :meth:`other` a second one."""

    def __init__(self, apiserver: ApiServer, proxy: Proxy, folder: Path) -> None:
        self.proxy, self._direct = proxy, apiserver.kubeconfig("admin")
        self.store: Any = SigningFilesystem(folder)
        config = apiserver.kubeconfig("admin", proxy.url)
        self.settings = KubernetesSettings(
            namespace="default", kubeconfig=config, images=IMAGES, installation=uuid.uuid4().hex, record="1234"
        )
        self.backend = KubernetesBackend(name="cluster", settings=self.settings)
        self.called: list[AttemptRef] = []

    async def start(self) -> KubernetesBackend:
        await self.backend.start(self.store, self.called.append)
        return self.backend

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Place]:
        """Nothing of it is left behind, whichever server of it is the last."""
        await self.start()
        yield self
        self.proxy.faults = []
        for ref in await self.backend.attempts():
            await self.backend.delete(ref)
        await self.backend.stop()

    async def again(self) -> KubernetesBackend:
        await self.backend.stop()
        self.backend = KubernetesBackend(name="cluster", settings=self.settings)
        return await self.start()

    @asynccontextmanager
    async def other(self, record: str = "1234") -> AsyncIterator[KubernetesBackend]:
        """A second server, whose requests don't go through the proxy. ``record``: another, where it has its own."""
        backend = KubernetesBackend(name="other", settings=replace(self.settings, kubeconfig=self._direct))
        backend.serves(record)
        await backend.start(self.store, lambda ref: None)
        try:
            yield backend
        finally:
            await backend.stop()

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
    async with Place(apiserver, proxy, tmp_path).started() as made:
        yield made


def a_job() -> AttemptRequest:
    return a_request(uuid.uuid4().hex, "print(1)")


async def test_of_many_jobs_as_many_are_made_at_once_as_the_cluster_tells_of(place: Place) -> None:
    backend = place.backend
    requests = {request.ref: request for request in (a_job() for _ in range(3 * lanes.LANES))}
    first = [ref for ref in requests if backend.may_create(ref)]
    assert first == list(requests)[: lanes.LANES]
    for ref in first:
        await backend.create(requests[ref])
        await backend.create(requests[ref])

    async def all_are_made() -> bool:
        for ref in place.called:
            if backend.may_create(ref):
                await backend.create(requests[ref])
        return set(await backend.attempts()) == set(requests)

    await place.until(all_are_made)
    assert all(backend.may_create(ref) for ref in requests)  # each is there


async def test_what_waits_for_its_turn_here_and_was_made_by_another_server_is_not_told_as_gone(place: Place) -> None:
    backend = place.backend
    requests = [a_job() for _ in range(lanes.LANES + 1)]
    assert [backend.may_create(one.ref) for one in requests] == [True] * lanes.LANES + [False]
    place.proxy.faults.append(Fault(lambda how, path: "watch=1" in path, times=1000, silence=60))
    place.proxy.cut_all()
    async with place.other() as other:
        await other.create(requests[-1])
        assert backend._attempts.job(requests[-1].ref) is None, "nothing told it"
        assert (await backend.observe(requests[-1].ref)).state == "starting"
        assert backend.may_create(requests[-1].ref)
    for one in requests:
        backend.give_up_turn(one.ref)


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


@pytest.mark.parametrize("path", [SECRETS, JOBS])
async def test_what_a_conflict_keeps_from_being_removed_is_removed_another_time(place: Place, path: str) -> None:
    request = a_job()
    place.fault("PATCH", SECRETS, status=409, body={"reason": "Conflict"})  # so that the Secret has no owner
    await place.backend.create(request)
    place.fault("DELETE", path, status=409, body={"reason": "Conflict", "message": "modified"})
    with pytest.raises(
        BackendError, match=rf"could not remove {request.ref.name} just now, and is asked again"
    ) as told:
        await place.backend.delete(request.ref)
    assert not told.value.permanent
    await place.backend.delete(request.ref)
    for one in (JOBS, SECRETS):
        assert not (await place.backend._api.request("GET", f"{one}/{request.ref.name}")).ok, one


@pytest.mark.parametrize("status", [429, 500, 503, 403])
async def test_trouble_that_passes_while_creating_is_told_as_such(place: Place, status: int) -> None:
    request = a_job()
    headers = {"Retry-After": "77"} if status == 429 else {}
    text = 'jobs.batch is forbidden: User "server" cannot create resource "jobs"' if status == 403 else "not now"
    place.fault("POST", JOBS, times=100, status=status, headers=headers, body={"message": text})
    with pytest.raises(BackendError, match=text) as told:
        await place.backend.create(request)
    assert not told.value.permanent
    assert status != 429 or (told.value.after is not None and told.value.after >= 77)
    place.proxy.faults = []
    await place.backend.create(request)
    assert (await place.backend.observe(request.ref)).state == "starting"


async def test_what_the_cluster_does_not_admit_is_told_for_good(place: Place) -> None:
    denied = {"message": 'admission webhook "policy.example.org" denied the request: no such image here'}
    place.fault("POST", JOBS, status=403, body=denied)
    with pytest.raises(BackendError, match=r"does not admit it \(403\): admission webhook .* no such image") as told:
        await place.backend.create(a_job())
    assert told.value.permanent


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


async def a_pod(place: Place, ref: AttemptRef, **status: Any) -> str:
    """What the Job's controller and a kubelet would make; it stays until :func:`bury`."""
    job, api = place.backend._attempts.job(ref), place.backend._api
    name = f"{ref.name}-pod"
    main = {"name": "main", "image": "none"}
    body = {
        "metadata": {"name": name, "labels": job["metadata"]["labels"], "finalizers": ["example.org/kubelet"]},
        "spec": {"containers": [main], "restartPolicy": "Never", "nodeName": "node1"},
    }
    assert (await api.request("POST", PODS, body=body)).ok
    told = {**main, "imageID": "", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": T0}}}
    patch = {"status": {"phase": "Running", "containerStatuses": [told], **status}}
    reply = await api.request("PATCH", f"{PODS}/{name}/status", body=patch, content_type=MERGE_PATCH)
    assert reply.ok, reply
    return name


async def bury(place: Place, name: str) -> None:
    patch = {"metadata": {"finalizers": None}}
    api = place.backend._api
    await api.request("DELETE", f"{PODS}/{name}", body={"gracePeriodSeconds": 0})
    await api.request("PATCH", f"{PODS}/{name}", body=patch, content_type=MERGE_PATCH)


def ship(place: Place, ref: AttemptRef, **more: Any) -> None:
    prefix = f"jobs/{ref.uid}/{ref.attempt}/"
    place.store.put(segment_key(prefix, 0), b"0123456789")
    place.store.put(f"{prefix}state.json", json.dumps(a_state(**more)).encode())


MAIN = {"exitCode": 0, "signal": None, "limit": "", "terminated": False, "at": "2026-11-22T10:01:00Z"}


async def observed(place: Place, ref: AttemptRef, *states: str) -> Observation:
    found: list[Observation] = []

    async def seen() -> bool:
        found.append(await place.backend.observe(ref))
        return found[-1].state in states

    await place.until(seen)
    return found[-1]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_job_deleted_by_hand_is_harvested_when_its_pod_has_ended(place: Place, restarted: bool) -> None:
    request = a_job()
    await place.backend.create(request)
    pod = await a_pod(place, request.ref)
    ship(place, request.ref, state="running")
    await observed(place, request.ref, "running")
    await place.backend._api.request("DELETE", f"{JOBS}/{request.ref.name}", body={"propagationPolicy": "Background"})
    if restarted:
        await place.again()
    await asyncio.sleep(0.5)
    assert (await observed(place, request.ref, "running", "gone", "ended")).state == "running"
    ship(place, request.ref, main={**MAIN, "terminated": True}, claims={"end": {"outcome": "interrupted"}})
    await bury(place, pod)
    seen = await observed(place, request.ref, "ended", "gone")
    assert (seen.state, seen.evidence["limit"], seen.log_size) == ("ended", "DeletedExternally", 10), seen
    await place.backend.delete(request.ref)
    assert (await place.backend.observe(request.ref)).state == "gone"


async def test_an_end_by_another_hand_is_told_when_the_kubelet_has_said_whose(place: Place) -> None:
    """Main and sidecar are over before the kubelet says that it evicted the pod, and why."""
    request = a_job()
    await place.backend.create(request)
    pod = await a_pod(place, request.ref)
    ship(place, request.ref, state="running")
    await observed(place, request.ref, "running")
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": T0, "finishedAt": T0}}
    main = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
    api, path = place.backend._api, f"{PODS}/{pod}/status"
    patch: dict[str, Any] = {"status": {"containerStatuses": [main]}}
    assert (await api.request("PATCH", path, body=patch, content_type=MERGE_PATCH)).ok
    ship(place, request.ref, main={**MAIN, "terminated": True}, claims={"end": {"outcome": "interrupted"}})
    log = f"jobs/{request.ref.uid}/{request.ref.attempt}/log.json"

    async def reaped() -> bool:
        await place.backend.observe(request.ref)
        return bool(place.store.exists(log))

    await place.until(reaped)
    await asyncio.sleep(0.5)
    assert (await place.backend.observe(request.ref)).state == "running"
    why = 'Usage of EmptyDir volume "work" exceeds the limit "100Mi". '
    patch = {"status": {"phase": "Failed", "reason": "Evicted", "message": why}}
    assert (await api.request("PATCH", path, body=patch, content_type=MERGE_PATCH)).ok
    seen = await observed(place, request.ref, "ended")
    assert seen.evidence["limit"] == "DiskLimit" and "100Mi" in seen.evidence["message"], seen
    await bury(place, pod)


async def test_a_server_that_only_follows_keeps_no_pod_that_went_before_its_job(place: Place) -> None:
    request = a_job()
    await place.backend.create(request)
    pod = await a_pod(place, request.ref)
    async with place.other() as other:
        assert request.ref in other._attempts.refs()

        async def heard() -> bool:
            known = other._attempts.known.get(request.ref)
            return known is not None and known.pod is not None and bool(known.pod.get("deleted"))

        await bury(place, pod)
        await place.until(heard)
        await place.backend.delete(request.ref)

        async def forgotten() -> bool:
            return request.ref not in other._attempts.refs()

        await place.until(forgotten)
        assert request.ref not in other._attempts.known


async def test_a_job_that_the_cluster_removed_while_nobody_looked_is_told_by_what_it_left(place: Place) -> None:
    request = a_job()
    ship(place, request.ref, main=MAIN)
    seen = await observed(place, request.ref, "ended", "gone")
    assert seen.state == "ended" and seen.evidence == {"exitCode": 0, "signal": None}, seen
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.notebook
    assert seen.ended is not None and seen.ended.minute == 1
    await place.backend.delete(request.ref)
    assert (await place.backend.observe(request.ref)).state == "gone"


async def test_a_pod_that_is_ending_keeps_its_grace_when_its_job_is_deleted(place: Place) -> None:
    request = a_job()
    await place.backend.create(request)
    pod = await a_pod(place, request.ref)
    await observed(place, request.ref, "starting", "running")
    await place.until(lambda: knows(place, request.ref, "pod"))
    await place.backend.cancel(request.ref, "enough")
    await place.until(lambda: knows(place, request.ref, "deletionTimestamp"))
    before = place.proxy.count(PODS, "DELETE")
    await place.backend.delete(request.ref)
    assert place.proxy.count(PODS, "DELETE") == before == 1
    assert (await place.backend.observe(request.ref)).state == "gone", "although its pod takes its grace"
    await bury(place, pod)


async def test_cancelling_before_there_is_a_pod_loses_nothing(place: Place) -> None:
    request = a_job()
    await place.backend.create(request)
    await place.backend.cancel(request.ref, "never mind")
    seen = await observed(place, request.ref, "ended")
    assert seen.evidence["cancelled"] == "never mind" and seen.log_complete and seen.log_size == 0
    assert seen.conditions == []


async def knows(place: Place, ref: AttemptRef, what: str) -> bool:
    known = place.backend._attempts.known.get(ref)
    return known is not None and known.pod is not None and (what == "pod" or what in known.pod["metadata"])


async def test_a_store_whose_forms_are_good_elsewhere_is_refused(
    place: Place,
    versitygw: S3Server,  # noqa: F811
    minio: S3Server,  # noqa: F811
) -> None:
    await place.backend.stop()
    place.store = versitygw.store("leaky")
    with pytest.raises(BackendError, match=r"code in one pod could overwrite.*Use a store that keeps to") as told:
        await place.start()
    assert told.value.permanent
    place.store = minio.store("tight")
    place.backend = KubernetesBackend(name="cluster", settings=place.settings)
    await place.start()


async def test_a_store_that_is_away_at_the_start_is_tried_before_the_first_job(
    place: Place,
    own_minio: S3Server,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STORE_SECONDS", 2.0)
    place.store = own_minio.store("away")
    await asyncio.to_thread(own_minio.kill)
    backend = await place.again()
    assert "the object store will be tried before the first job" in caplog.text
    assert not backend._secrets._trusted
    await asyncio.to_thread(own_minio.start)
    await backend.create(a_job())
    assert backend._secrets._trusted


async def test_nothing_is_signed_for_orders_that_somebody_changed(place: Place) -> None:
    request = a_job()
    await place.backend.create(request)
    job = place.backend._attempts.job(request.ref)
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


async def test_what_another_server_made_is_not_told_as_gone_by_one_whose_watch_is_behind(place: Place) -> None:
    place.proxy.faults.append(Fault(lambda how, path: "watch=1" in path, times=1000, silence=60))
    place.proxy.cut_all()
    request = a_job()
    async with place.other() as other:
        await other.create(request)
        assert place.backend._attempts.job(request.ref) is None, "nothing told it"
        assert (await place.backend.observe(request.ref)).state == "starting"
        assert (await place.backend.observe(AttemptRef("never", 1))).state == "gone"
        ship(place, AttemptRef("running", 1), state="running")


async def test_an_attempt_that_runs_elsewhere_is_not_taken_for_one_that_the_cluster_forgot(place: Place) -> None:
    place.proxy.faults.append(Fault(lambda how, path: "watch=1" in path, times=1000, silence=60))
    place.proxy.cut_all()
    request = a_job()
    async with place.other() as other:
        await other.create(request)
        ship(place, request.ref, state="running")
        assert (await place.backend.observe(request.ref)).state == "starting", "its state is in the store"


async def test_gone_is_not_told_while_the_cluster_does_not_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "LOOK_SECONDS", 0.3)
    place.fault("GET", f"{JOBS}/tj-", times=1000, status=503, body={"message": "leader changed"})
    with pytest.raises(BackendError, match=r"failed \(503\): leader changed"):
        await place.backend.observe(AttemptRef("never", 1))


async def a_slot(place: Place, request: AttemptRequest) -> dict[str, str]:
    """A Job that waits for an attempt under a name of its own; the labels that will make it that of ``request``."""
    made = objects.job(request, place.settings)
    labels = made["metadata"]["labels"]
    installation = {name: labels[name] for name in (objects.MANAGED_BY, objects.INSTALLATION)}
    made["metadata"] = {**made["metadata"], "name": "tj-slot-7", "labels": installation}
    made["spec"]["suspend"] = True
    assert (await place.backend._api.request("POST", JOBS, body=made)).ok
    await place.until(lambda: has(place, "tj-slot-7"))
    return dict(labels)


async def test_a_job_is_found_by_its_labels_whatever_it_is_called(place: Place) -> None:
    """As a waiting slot is, once an attempt has claimed it."""
    request, api = a_job(), place.backend._api
    patch = {"metadata": {"labels": await a_slot(place, request)}}
    assert await place.backend.attempts() == []
    assert (await api.request("PATCH", f"{JOBS}/tj-slot-7", body=patch, content_type=MERGE_PATCH)).ok
    seen = await observed(place, request.ref, "starting", "queued")
    assert seen.ref == request.ref and await place.backend.attempts() == [request.ref]
    await place.backend.cancel(request.ref, "never mind")
    assert (await observed(place, request.ref, "ended")).evidence["cancelled"] == "never mind"
    await place.backend.delete(request.ref)
    assert (await api.request("GET", f"{JOBS}/tj-slot-7")).code == 404


async def test_a_slot_that_another_server_claimed_is_not_told_as_gone(place: Place) -> None:
    request, api = a_job(), place.backend._api
    patch = {"metadata": {"labels": await a_slot(place, request)}}
    place.proxy.faults.append(Fault(lambda how, path: "watch=1" in path, times=1000, silence=60))
    place.proxy.cut_all()
    assert (await api.request("PATCH", f"{JOBS}/tj-slot-7", body=patch, content_type=MERGE_PATCH)).ok
    assert place.backend._attempts.job(request.ref) is None, "nothing told it"
    assert (await place.backend.observe(request.ref)).state == "starting"
    await place.backend.delete(request.ref)


async def has(place: Place, name: str) -> bool:
    return name in place.backend._attempts.jobs.objects


async def test_a_changed_quota_and_node_wake_whoever_admits(place: Place) -> None:
    woken = asyncio.Event()
    place.backend.on_room(woken.set)
    api = place.backend._api
    node = {"metadata": {"name": f"node-{uuid.uuid4().hex[:8]}"}}
    name = node["metadata"]["name"]
    assert (await api.request("POST", "/api/v1/nodes", body=node)).ok
    ready = {"type": "Ready", "status": "True", "reason": "x", "message": "x"}
    has = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    patch = {"status": {"allocatable": has, "capacity": has, "conditions": [ready]}}
    quotas = "/api/v1/namespaces/default/resourcequotas"
    try:
        await place.backend.capacity()
        await api.request("PATCH", f"/api/v1/nodes/{name}/status", body=patch, content_type=MERGE_PATCH)
        await api.request("PATCH", f"/api/v1/nodes/{name}", body={"spec": {"taints": None}}, content_type=MERGE_PATCH)
        await asyncio.wait_for(woken.wait(), 20)
        assert name in {one.name for one in await place.backend.capacity()}
        woken.clear()
        body = {"metadata": {"name": "class"}, "spec": {"hard": {"requests.cpu": "2"}}}
        assert (await api.request("POST", quotas, body=body)).ok
        await asyncio.wait_for(woken.wait(), 20)
        assert [one.cpu_millis for one in await place.backend.capacity() if one.name == name] == [1900]
    finally:
        await api.request("DELETE", f"{quotas}/class")
        await api.request("DELETE", f"/api/v1/nodes/{name}")


async def test_what_pods_of_others_have_of_a_node_is_not_given_away(place: Place) -> None:
    api, name = place.backend._api, f"node-{uuid.uuid4().hex[:8]}"
    has = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "x", "message": "x"}
    await api.request("POST", "/api/v1/nodes", body={"metadata": {"name": name}})
    patch = {"status": {"allocatable": has, "capacity": has, "conditions": [ready]}}
    await api.request("PATCH", f"/api/v1/nodes/{name}/status", body=patch, content_type=MERGE_PATCH)
    await api.request("PATCH", f"/api/v1/nodes/{name}", body={"spec": {"taints": None}}, content_type=MERGE_PATCH)
    main = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "3"}}}
    body = {"metadata": {"name": "theirs"}, "spec": {"containers": [main], "nodeName": name}}
    await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "theirs"}})
    pods = "/api/v1/namespaces/theirs/pods"

    async def cpu(wanted: int) -> bool:
        return [one.cpu_millis for one in await place.backend.capacity() if one.name == name] == [wanted]

    try:
        await place.until(lambda: cpu(7900))
        assert (await api.request("POST", pods, body=body)).ok
        await place.until(lambda: cpu(4900))
        assert [one.cpu_millis for one in await place.backend.sizes() if one.name == name] == [7900]
    finally:
        await api.request("DELETE", f"{pods}/theirs", body={"gracePeriodSeconds": 0})
        await api.request("DELETE", f"/api/v1/nodes/{name}")


async def test_rights_that_are_missing_are_told(place: Place) -> None:
    await place.backend.stop()
    forbidden = {"message": 'pods is forbidden: User "server" cannot list resource "pods" at the cluster scope'}
    place.proxy.faults.append(
        Fault(lambda how, path: path.startswith("/api/v1/pods"), times=1000, status=403, body=forbidden)
    )
    backend = await place.again()
    warnings = backend.describe()["warnings"]
    assert any("what pods of others have of the nodes is not known" in text for text in warnings)
    await backend.capacity()


async def test_where_nodes_may_not_be_looked_at_the_quota_bounds_what_is_admitted(place: Place) -> None:
    """As with a namespace of somebody else's cluster."""
    await place.backend.stop()
    forbidden = {"message": 'nodes is forbidden: User "server" cannot list resource "nodes" at the cluster scope'}
    place.proxy.faults.append(
        Fault(lambda how, path: path.startswith("/api/v1/nodes"), times=1000, status=403, body=forbidden)
    )
    backend, quotas = await place.again(), "/api/v1/namespaces/default/resourcequotas"
    (free,) = await backend.capacity()
    assert free.cpu_millis > 4_000_000 and free.memory_bytes > 2**49
    body = {"metadata": {"name": "ours"}, "spec": {"hard": {"requests.cpu": "2", "requests.memory": "4Gi"}}}
    assert (await backend._api.request("POST", quotas, body=body)).ok

    async def bounded() -> bool:
        return [one.cpu_millis for one in await backend.capacity()] == [1900]

    try:
        await place.until(bounded)
        assert [one.cpu_millis for one in await backend.sizes()] == [1900]
        warnings = " ".join(backend.describe()["warnings"])
        assert "the server may not list nodes, so that only the namespace's quota" in warnings
        assert "cannot list resource" in warnings
    finally:
        await backend._api.request("DELETE", f"{quotas}/ours")


# Two servers with records of their own, in one namespace and by one installation


async def test_what_is_in_another_record_is_left_alone_and_takes_its_room(place: Place) -> None:
    ours, theirs = a_job(), a_job()
    async with place.other("5678") as other:
        await place.backend.create(ours)
        await other.create(theirs)
        pod = await a_pod(place, ours.ref)
        await place.until(lambda: has(place, theirs.ref.name))
        assert await place.backend.attempts() == [ours.ref] and place.backend.is_ours(ours.ref)
        assert place.backend._attempts.mine() == [place.backend._attempts.job(ours.ref)]

        async def is_heard() -> bool:
            return ours.ref.name in other._attempts.jobs.objects and bool(other._attempts.helpers())

        await place.until(is_heard)
        assert await other.attempts() == [theirs.ref]
        (counted,) = other._attempts.helpers()
        assert counted["metadata"]["name"] == pod and counted["requests"].jobs == 1
        assert other._attempts.ours().counted["count/jobs.batch"] == 1
        await other.delete(theirs.ref)
    await bury(place, pod)


async def test_a_secret_without_a_job_is_an_orphan_of_its_own_record_only(place: Place) -> None:
    request = a_job()
    place.fault("POST", JOBS, status=409, body={"reason": "Conflict"})
    with pytest.raises(BackendError):
        await place.backend.create(request)
    async with place.other("5678") as stranger, place.other() as mate:
        assert await stranger.attempts() == []
        assert await mate.attempts() == [request.ref] and mate.is_ours(request.ref)


async def test_an_idle_slot_is_its_own_records(place: Place) -> None:
    made = objects.job(a_job(), place.settings)
    labels = {**objects.common(place.settings), objects.SLOT: "fits"}
    made["metadata"] = {**made["metadata"], "name": "tj-slot-8", "labels": labels}
    made["spec"]["suspend"] = True
    async with place.other("5678") as stranger:
        assert (await place.backend._api.request("POST", JOBS, body=made)).ok
        await place.until(lambda: has(place, "tj-slot-8"))

        async def is_heard() -> bool:
            return "tj-slot-8" in stranger._attempts.jobs.objects

        await place.until(is_heard)
        assert [slot.name for slot in place.backend._pool.idle()] == ["tj-slot-8"]
        assert stranger._pool.idle() == []
    await place.backend._api.request("DELETE", f"{JOBS}/tj-slot-8")


async def test_an_attempt_of_an_older_version_goes_on_and_is_nobodys_orphan(place: Place) -> None:
    request = a_job()
    made = objects.job(request, place.settings)
    del made["metadata"]["labels"][objects.RECORD]
    made["spec"]["suspend"] = True
    assert (await place.backend._api.request("POST", JOBS, body=made)).ok
    await place.until(lambda: has(place, request.ref.name))
    assert (await place.backend.observe(request.ref)).state == "starting"
    assert await place.backend.attempts() == [request.ref] and not place.backend.is_ours(request.ref)
