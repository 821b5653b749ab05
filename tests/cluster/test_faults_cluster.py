"""What a cluster does to a job: parts restarted, a node lost, evictions, an image that is not there, quotas, storms."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from tests.backends.kubernetes.apiserver import Fault, Proxy
from tests.backends.place import a_request

from . import pki
from .backends import ClusterPlace
from .cluster import Cluster
from .placing import SMALL, MakePlace, call, lines, make_place, place  # noqa: F401

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio, pytest.mark.timeout(900)]


async def pod_of(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """The newest pod of a Job."""
    text = await call(cluster.kubectl, "-n", namespace, "get", "pods", "-l", f"job-name={name}", "-o", "json")
    return dict(json.loads(text)["items"][-1])


async def until(check: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await call(check):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.2)


async def test_kubelet_and_containerd_that_are_restarted_cost_nothing(cluster: Cluster, place: Any) -> None:  # noqa: F811
    code, log = lines(80)
    ref = await place.begin(code + "\n_ = open('made', 'w').write('x')", timeLimitSeconds=120, resources=SMALL)
    await place.log_holds(ref, b"line 3\n")
    for component in ("kubelet", "containerd"):
        await call(cluster.kill, component)
    try:
        await asyncio.sleep(3)
    finally:
        for component in ("containerd", "kubelet"):
            await call(cluster.revive, component)
    seen = await place.until(ref, "ended", seconds=150)
    assert seen.claims["end"]["outcome"] == "ok" and "limit" not in seen.evidence and seen.log_complete, seen
    assert await place.log(ref) == log and seen.files_total == 1


async def test_a_pod_that_somebody_deletes_ends_with_what_it_left(
    cluster: Cluster,
    namespace: str,
    place: Any,  # noqa: F811
) -> None:
    ref = await place.begin(
        "print('up', flush=True)\n_ = open('made', 'w').write('x')\nimport time\ntime.sleep(90)", resources=SMALL
    )
    await place.log_holds(ref, b"up")
    pod = await pod_of(cluster, namespace, ref.name)
    await call(cluster.kubectl, "-n", namespace, "delete", "pod", pod["metadata"]["name"], "--wait=false")
    seen = await place.until(ref, "ended", seconds=120)
    assert seen.evidence["limit"] == "DeletedExternally" and "kubectl" in seen.evidence["message"]
    assert (await place.log(ref)).startswith(b"up\n") and seen.log_complete and seen.files_total == 1


async def test_a_pod_whose_node_is_emptied_says_so(cluster: Cluster, namespace: str, place: Any) -> None:  # noqa: F811
    """By the API that ``kubectl drain`` uses."""
    ref = await place.begin("print('up', flush=True)\nimport time\ntime.sleep(90)", resources=SMALL)
    await place.log_holds(ref, b"up")
    name = (await pod_of(cluster, namespace, ref.name))["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    await asyncio.to_thread(cluster.kubectl, "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    seen = await place.until(ref, "ended", seconds=120)
    assert seen.evidence["limit"] == "Evicted" and "emptied" in seen.evidence["message"], seen
    assert (await place.log(ref)).startswith(b"up\n") and seen.log_complete


@pytest.mark.soak  # the same, without a node: tests/backends/kubernetes/test_backend_api.py
async def test_a_job_that_fills_the_nodes_disk_beside_its_folder_says_so(make_place: MakePlace) -> None:  # noqa: F811
    """Ended by its container's first process, else evicted by the kubelet: whoever looks first."""
    place = await make_place(scratch="disk")  # noqa: F811
    code = (
        "import time\nprint('up', flush=True)\ntime.sleep(2)\n"
        "with open('/trainjob/out/rest', 'wb') as file:\n    for _ in range(400): file.write(bytes(1 << 20))\n"
        "time.sleep(90)"
    )
    ref = await place.begin(code, timeLimitSeconds=120, resources={**SMALL, "memory": "1Gi", "fileSize": None})
    seen = await place.until(ref, "ended", seconds=150)
    assert seen.evidence.get("limit") == "DiskLimit" and "disk" in seen.evidence["message"], repr(vars(seen))
    assert (await place.log(ref)).startswith(b"up\n"), repr(vars(seen))


async def test_an_image_that_is_not_there_is_told_at_once(make_place: MakePlace) -> None:  # noqa: F811
    place = await make_place(allowed_images=("docker.io/trainjob/",), startup_seconds=300)  # noqa: F811
    began = time.monotonic()
    ref = await place.begin("print(1)", environment={"image": "docker.io/trainjob/never-was:1"}, resources=SMALL)
    seen = await place.until(ref, "ended", seconds=200)
    assert seen.evidence["limit"] == "ImageError" and "never-was:1" in seen.evidence["message"], seen
    assert seen.started is None and seen.log_size == 0 and await place.log(ref) == b""
    assert time.monotonic() - began < 300, "and not only when its time to start is over"


async def test_a_job_whose_time_to_live_passed_while_no_server_was_there_is_told_as_it_was(
    cluster: Cluster,
    namespace: str,
    place: Any,  # noqa: F811
) -> None:
    code, log = lines(30)
    refs = [
        await place.begin(
            code + "\nx = 5\n_ = open('made', 'w').write('12')", outputs={"names": ["x"]}, resources=SMALL
        ),
        await place.begin("print('up', flush=True)\n1 / 0", resources=SMALL),
    ]
    for ref in refs:
        await place.until(ref, "running")
    await place.stop()
    for ref in refs:
        ttl = ["-p", json.dumps({"spec": {"ttlSecondsAfterFinished": 1}})]
        await call(cluster.kubectl, "-n", namespace, "patch", "job", ref.name, "--type=merge", *ttl)

    def are_gone() -> bool:
        return not cluster.kubectl("-n", namespace, "get", "jobs,pods", "-o", "name")

    await until(are_gone, 120)
    again = ClusterPlace(place.store, **place.options)
    await again.start()
    try:
        whole = await again.until(refs[0], "ended", "gone")
        assert whole.state == "ended" and whole.claims["end"]["outcome"] == "ok" and "limit" not in whole.evidence
        assert await again.log(refs[0]) == log and whole.log_complete and whole.files == [{"path": "made", "size": 2}]
        wrong = await again.until(refs[1], "ended", "gone")
        assert wrong.claims["end"]["error"]["ename"] == "ZeroDivisionError" and "limit" not in wrong.evidence
        for ref in refs:
            await again.backend.delete(ref)
            assert (await again.backend.observe(ref)).state == "gone"
    finally:
        await again.stop()


def quota(namespace: str, **hard: str) -> dict[str, Any]:
    meta = {"name": "course", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}


async def test_a_quota_that_is_lowered_under_running_jobs_ends_none_of_them(
    cluster: Cluster,
    namespace: str,
    place: Any,  # noqa: F811
) -> None:
    await call(cluster.apply, quota(namespace, **{"limits.cpu": "8", "limits.memory": "8Gi"}))
    code, log = lines(100)
    running = [await place.begin(code, resources=SMALL, timeLimitSeconds=150) for _ in range(2)]
    for ref in running:
        await place.log_holds(ref, b"line 2\n")
    room = (await place.backend.capacity())[0]
    await call(cluster.apply, quota(namespace, **{"limits.cpu": "1", "limits.memory": "600Mi"}))

    async def lowered() -> bool:
        return sum(node.memory_bytes for node in await place.backend.capacity()) < room.memory_bytes

    deadline = time.monotonic() + 60
    while not await lowered():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    late = a_request("late", "print('late')", resources=SMALL)
    await place.backend.create(late)  # as a scheduler would that had not heard of it yet
    held = await place.until_seen(late.ref, lambda seen: any(one["type"] == "PodStarted" for one in seen.conditions))
    [told] = [one for one in held.conditions if one["type"] == "PodStarted"]
    assert held.state == "starting" and "course" in told["message"], held
    for ref in running:
        seen = await place.until(ref, "ended", seconds=150)
        assert seen.claims["end"]["outcome"] == "ok" and await place.log(ref) == log and seen.log_complete
        await place.backend.delete(ref)
    await call(cluster.apply, quota(namespace, **{"limits.cpu": "2", "limits.memory": "2Gi"}))
    seen = await place.until(late.ref, "ended", seconds=150)
    assert seen.claims["end"]["outcome"] == "ok" and await place.log(late.ref) == b"late\n"


# A node that is lost


@pytest.mark.soak
async def test_a_node_that_is_lost_is_told_and_holds_the_job_until_it_is_back_or_removed(
    cluster: Cluster,
    namespace: str,
    make_place: MakePlace,  # noqa: F811
) -> None:
    """With fake nodes beside it: of a single node, no controller believes that it is lost."""
    place = await make_place(unreachable_seconds=5)  # noqa: F811
    code, _ = lines(400)
    with cluster.fake_nodes(3):
        ref = await place.begin(code, resources=SMALL, timeLimitSeconds=250)
        await place.log_holds(ref, b"line 3\n")
        await call(cluster.kill, "kubelet")
        try:
            lost = await place.until_seen(ref, _is_lost, seconds=200)
            assert lost.state == "running", "it may still run there, and so holds its quota"
            assert "node1" in next(one["message"] for one in lost.conditions if one["type"] == "NodeReachable")
        finally:
            await call(cluster.revive, "kubelet")
        seen = await place.until(ref, "ended", seconds=200)
        assert seen.evidence["limit"] == "NodeLost", seen
        assert (await place.log(ref)).startswith(b"line 0\nline 1\n")


def _is_lost(seen: Any) -> bool:
    return any(one["type"] == "NodeReachable" and one["status"] == "False" for one in seen.conditions)


# An API server that answers with everything but what was asked


class Stormy(Proxy):
    """Before the cluster's API server, with its own certificates."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(SimpleNamespace(pki=cluster.state / "pki", url=cluster.api_url))  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def storm(cluster: Cluster) -> AsyncIterator[Stormy]:
    async with Stormy(cluster).run() as proxy:
        yield proxy  # type: ignore[misc]


def weather(chance: random.Random) -> Fault:
    """One fault of those that API servers, load balancers and networks have; on the next request of any kind."""
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    kinds: list[dict[str, Any]] = [
        {"status": 429, "headers": {"Retry-After": "1"}, "body": {"reason": "TooManyRequests"}},
        {"status": 500, "body": {"reason": "InternalError", "message": "etcd"}},
        {"status": 503, "body": {"reason": "ServiceUnavailable"}},
        {"status": 409, "body": {"reason": "Conflict", "message": "modified"}},
        {"silence": 3.0},
        {"lost": True},
        {"cut_after": chance.randrange(1, 3000)},
    ]
    watches: list[dict[str, Any]] = [
        {"event": json.dumps(gone)},
        {"status": 410, "body": {"reason": "Expired"}},
        {"cut_after": chance.randrange(1, 3000)},
    ]
    if chance.random() < 0.4:
        return Fault(lambda method, path: "watch=" in path, **chance.choice(watches))
    chosen = chance.choice(kinds)
    changing = chosen.get("status") == 409
    return Fault(lambda method, path: "watch=" not in path and (method != "GET" or not changing), **chosen)


async def test_a_stormy_api_server_costs_no_job_and_runs_none_twice(
    cluster: Cluster,
    namespace: str,
    make_place: MakePlace,  # noqa: F811
    storm: Stormy,
    tmp_path: Path,
    soak: bool,
) -> None:
    """429, 500, 503, 409, silence, lost answers, cut and expired watches; seeded."""
    config = tmp_path / "stormy"
    config.write_text(pki.kubeconfig(cluster.state / "pki", storm.url, "admin"))
    place = await make_place(kubeconfig=str(config))  # noqa: F811
    chance = random.Random(5)
    code, log = lines(20)
    over = asyncio.Event()

    async def blow() -> None:
        while not over.is_set():
            storm.faults = [fault for fault in storm.faults if fault.times > 0]
            if len(storm.faults) < 3:
                storm.faults.append(weather(chance))
            if chance.random() < 0.05:
                storm.cut_all()
            await asyncio.sleep(chance.uniform(0.05, 0.4))

    blowing = asyncio.create_task(blow())
    requests = [a_request(f"storm-{n}", code, resources=SMALL, timeLimitSeconds=150) for n in range(30 if soak else 5)]
    try:
        for request in requests:
            await insist(place.backend.create, request)
        stubborn = a_request("cancelled", "print('up', flush=True)\nimport time\ntime.sleep(140)", resources=SMALL)
        await insist(place.backend.create, stubborn)
        await place.log_holds(stubborn.ref, b"up", seconds=200)
        await insist(place.backend.cancel, stubborn.ref, "enough")
        for request in requests:
            seen = await place.until(request.ref, "ended", seconds=200)
            assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete, seen
            assert await place.log(request.ref) == log
            await insist(place.backend.delete, request.ref)
        assert (await place.until(stubborn.ref, "ended", seconds=200)).evidence["cancelled"] == "enough"
        await insist(place.backend.delete, stubborn.ref)
    finally:
        over.set()
        await blowing
        storm.faults = []
    assert await place.backend.attempts() == []
    listing = ("-n", namespace, "get", "jobs,secrets", "-o", "name")
    try:
        await until(lambda: "tj-" not in cluster.kubectl(*listing))
    except AssertionError as error:
        raise AssertionError(f"these are left: {await call(cluster.kubectl, *listing)}") from error


async def insist(step: Callable[..., Any], *arguments: Any) -> None:
    """As the controllers do: what may pass is tried again."""
    from jupyter_trainjob.backends.base import BackendError

    for _ in range(20):
        try:
            await step(*arguments)
            return
        except BackendError as error:
            assert not error.permanent, error
            await asyncio.sleep(0.3)
    raise AssertionError(f"{step} never came through")
