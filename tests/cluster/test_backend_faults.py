"""What the cluster's backend survives: parts that are killed, hands that interfere, steps that were left half done."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import objects
from tests.backends.place import a_request

from .backends import ClusterPlace, settings
from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


LINES = "import time\nfor i in range(60):\n    print('line', i, flush=True)\n    time.sleep(0.1)"
ALL = b"".join(b"line %d\n" % i for i in range(60))


@pytest.mark.asyncio
async def test_an_api_server_that_is_killed_while_a_job_runs_costs_nothing(cluster: Cluster, place: Any) -> None:
    ref = await place.begin(LINES)
    await place.until(ref, "running")
    await asyncio.to_thread(cluster.kill, "kube-apiserver")
    try:
        await asyncio.sleep(3)
        assert (await place.backend.observe(ref)).state == "running", "what is known stays known"
    finally:
        await asyncio.to_thread(cluster.revive, "kube-apiserver")
        await asyncio.to_thread(cluster.wait_for, "kube-apiserver")
    seen = await place.until(ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and seen.evidence["exitCode"] == 0
    assert await place.log(ref) == ALL and seen.log_complete


@pytest.mark.asyncio
async def test_a_store_that_is_away_for_a_while_costs_no_byte(cluster: Cluster, place: Any) -> None:
    ref = await place.begin(LINES)
    await place.until(ref, "running")
    await asyncio.to_thread(cluster.kill, "minio")
    try:
        await asyncio.sleep(8)  # the code ends meanwhile
        assert (await place.backend.observe(ref)).state == "running"
    finally:
        await asyncio.to_thread(cluster.revive, "minio")
    seen = await place.until(ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.log_missing == 0, seen
    assert await place.log(ref) == ALL


@pytest.mark.asyncio
async def test_a_job_that_somebody_deletes_by_hand_ends_with_what_it_left(
    cluster: Cluster, namespace: str, place: Any
) -> None:
    ref = await place.begin("print('up')\nimport time\ntime.sleep(60)")
    await place.log_holds(ref, b"up")
    await asyncio.to_thread(cluster.kubectl, "-n", namespace, "delete", "job", ref.name, "--wait=false")
    seen = await place.until(ref, "ended", "gone")
    assert seen.state == "ended" and seen.evidence["limit"] == "DeletedExternally"
    assert (await place.log(ref)).startswith(b"up\n") and seen.log_complete
    await place.backend.delete(ref)
    assert (await place.backend.observe(ref)).state == "gone"


@pytest.mark.asyncio
async def test_what_a_killed_server_left_half_made_is_taken_up_or_found(
    cluster: Cluster, namespace: str, place: Any
) -> None:
    half, lost = a_request("half", "print('whole')"), a_request("lost", "print('never')")
    for request in (half, lost):
        labels = objects.labels(request, place.options["settings"])
        secret = objects.secret(request.ref, place.options["settings"], labels, {"orders.json": b"{}"})
        await asyncio.to_thread(cluster.apply, secret)
    await place.stop()
    again = ClusterPlace(place.store, **place.options)
    await again.start()
    try:
        assert {ref.uid for ref in await again.backend.attempts()} == {"half", "lost"}
        await again.backend.create(half)
        await again.until(half.ref, "ended")
        assert await again.log(half.ref) == b"whole\n"
        await again.backend.delete(lost.ref)
        assert await again.backend.attempts() == [half.ref]
        left = await asyncio.to_thread(cluster.kubectl, "-n", namespace, "get", "secrets", "-o", "name")
        assert "tj-lost-1" not in left and "tj-half-1" in left
        await again.backend.delete(half.ref)
        deadline = time.monotonic() + 30
        while "tj-half-1" in await asyncio.to_thread(cluster.kubectl, "-n", namespace, "get", "secrets", "-o", "name"):
            assert time.monotonic() < deadline, "the Secret goes with its Job"
            await asyncio.sleep(0.2)
    finally:
        await again.stop()


@pytest.mark.asyncio
async def test_cancelling_before_there_is_a_pod_ends_it(cluster: Cluster, namespace: str, place: Any) -> None:
    request = a_request("early", "print(1)", resources={"cpu": "500"})  # no node is that large
    await place.backend.create(request)
    await place.backend.cancel(request.ref, "never mind")
    seen = await place.until(request.ref, "ended")
    assert seen.evidence["cancelled"] == "never mind" and seen.started is None


@pytest.mark.asyncio
async def test_a_namespace_that_is_not_there_is_told_at_the_start(cluster: Cluster, place: Any) -> None:
    wrong = ClusterPlace(place.store, name="cluster", settings=settings(cluster, "nowhere"))
    with pytest.raises(BackendError, match=r"has no namespace 'nowhere'.*jupyter trainjob deploy"):
        await wrong.start()


@pytest.mark.asyncio
async def test_a_jobs_life_is_few_requests(place: Any) -> None:
    before = place.backend.describe()["requests"]
    ref = await place.begin("print(1)")
    await place.until(ref, "ended")
    await place.backend.delete(ref)
    assert place.backend.describe()["requests"] - before <= 5
