"""An object store that is full, that refuses, that is away for long; signatures that run out while nobody renews."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes import renewal
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.objects import MANAGED_BY, MANAGER
from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.s3setup import ensure_bucket

from .backends import ClusterPlace, open_store
from .cluster import Cluster
from .placing import SMALL, MakePlace, call, lines, make_place, place  # noqa: F401

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio, pytest.mark.timeout(900)]


@asynccontextmanager
async def minio_away(cluster: Cluster) -> AsyncIterator[None]:
    await call(cluster.kill, "minio")
    try:
        yield
    finally:
        await call(cluster.revive, "minio")


@asynccontextmanager
async def minio_full(cluster: Cluster) -> AsyncIterator[None]:
    """Not a byte is left on its disk: it gets no larger than what lies there."""

    def resize(size: str) -> None:
        cluster.run(["mount", "-o", f"remount,size={size}", "/run/minio"])

    used = (await call(cluster.run, ["df", "--output=used", "--block-size=1K", "/run/minio"])).stdout.split()[-1]
    whole = (await call(cluster.run, ["df", "--output=size", "--block-size=1K", "/run/minio"])).stdout.split()[-1]
    await call(resize, f"{int(used) + 64}k")
    try:
        yield
    finally:
        await call(resize, f"{whole}k")


async def stored_size(at: Any, ref: Any) -> int:
    return len(await at.log(ref))


async def test_a_full_store_costs_no_byte_once_it_has_room_again(cluster: Cluster, place: Any) -> None:  # noqa: F811
    code, log = lines(120)
    ref = await place.begin(code + "\n_ = open('made', 'w').write('x' * 5000)", timeLimitSeconds=120, resources=SMALL)
    await place.until(ref, "running")
    await place.log_holds(ref, b"line 3\n")
    async with minio_full(cluster):
        before = await stored_size(place, ref)
        await asyncio.sleep(4)
        assert await stored_size(place, ref) <= before + 64 * 1024, "it takes nothing, or not much"
        assert (await place.backend.observe(ref)).state == "running"
    seen = await place.until(ref, "ended", seconds=150)
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.log_missing == 0, seen
    assert await place.log(ref) == log and seen.files == [{"path": "made", "size": 5000}]


async def test_a_store_that_refuses_for_a_while_costs_no_byte(
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    make_place: MakePlace,  # noqa: F811
) -> None:
    """Its bucket is not there, which is an answer, and none that trying again mends."""
    usual = open_store(cluster, tmp_path, namespace)
    address = dataclasses.replace(usual.address, bucket=namespace, prefix="own/")
    store = S3Store(address, usual.client.credentials)
    ensure_bucket(store, create=True)
    place = await make_place(store)  # noqa: F811
    code, log = lines(120)
    ref = await place.begin(code, timeLimitSeconds=120, resources=SMALL)
    await place.until(ref, "running")
    await place.log_holds(ref, b"line 3\n")
    bucket, aside = f"/run/minio/{namespace}", f"/run/minio/.{namespace}"
    await call(cluster.run, ["mv", bucket, aside])
    try:
        await asyncio.sleep(4)
        assert (await place.backend.observe(ref)).state == "running"
    finally:
        await call(cluster.run, ["rm", "-rf", bucket])
        await call(cluster.run, ["mv", aside, bucket])
    seen = await place.until(ref, "ended", seconds=150)
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.log_missing == 0, seen
    assert await place.log(ref) == log


@pytest.mark.soak
async def test_a_store_that_is_away_for_longer_than_the_grace_ends_the_job_truthfully(
    cluster: Cluster,
    namespace: str,
    make_place: MakePlace,  # noqa: F811
) -> None:
    place = await make_place(termination_seconds=45)  # noqa: F811
    code, log = lines(60)
    ref = await place.begin(code + "\n_ = open('made', 'w').write('x')", timeLimitSeconds=120, resources=SMALL)
    await place.until(ref, "running")
    await place.log_holds(ref, b"line 5\n")
    async with minio_away(cluster):
        await call(
            cluster.kubectl, "-n", namespace, "wait", "--for=condition=Complete", f"job/{ref.name}", "--timeout=150s"
        )
    seen = await place.until(ref, "ended", seconds=150)
    stored = await place.log(ref)
    assert seen.claims["end"]["outcome"] == "ok" and seen.evidence["exitCode"] == 0, "what became of the code is known"
    assert log.startswith(stored) and b"line 5\n" in stored, "what was printed before is there"
    assert 0 < seen.log_missing == len(log) - len(stored) and seen.log_size == len(log), seen
    told = {one["type"]: one["message"] for one in seen.conditions}
    assert f"{seen.log_missing} bytes" in told.get("LogComplete", ""), seen.conditions


@pytest.mark.soak
async def test_a_store_that_is_away_for_a_minute_costs_no_byte(cluster: Cluster, place: Any) -> None:  # noqa: F811
    code, log = lines(300)
    ref = await place.begin(code, timeLimitSeconds=200, resources=SMALL)
    await place.until(ref, "running")
    await place.log_holds(ref, b"line 3\n")
    async with minio_away(cluster):
        await asyncio.sleep(60)
    seen = await place.until(ref, "ended", seconds=200)
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.log_missing == 0, seen
    assert await place.log(ref) == log


# Signatures


def soon_over(place: ClusterPlace, seconds: int) -> None:  # noqa: F811
    """What the backend signs from now on is good for so long."""
    backend: KubernetesBackend = place.backend
    backend._terms = dataclasses.replace(backend._terms, signed_seconds=seconds)
    backend._secrets.terms = backend._terms


@pytest.mark.soak
async def test_signatures_that_run_out_while_no_server_is_there_cost_no_byte(
    place: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.5)
    soon_over(place, 8)
    code, log = lines(250)
    ref = await place.begin(code, timeLimitSeconds=120, resources=SMALL)
    await place.until(ref, "running")
    await place.log_holds(ref, b"line 3\n")
    await place.stop()  # nobody renews
    await asyncio.sleep(12)
    before = await stored_size(place, ref)
    again = ClusterPlace(place.store, **place.options)
    await again.start()
    try:
        assert before < len(log), "nothing more was let in"
        seen = await again.until(ref, "ended", seconds=200)
        assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete and seen.log_missing == 0, seen
        assert await again.log(ref) == log
    finally:
        await again.stop()


@pytest.mark.soak
async def test_an_input_whose_signature_ran_out_before_the_pod_began_is_signed_again(
    cluster: Cluster,
    namespace: str,
    make_place: MakePlace,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pod waits for the namespace's quota."""
    place = await make_place()  # noqa: F811
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.5)
    data = b"a,b\n1,2\n"
    digest = hashlib.sha256(data).hexdigest()
    place.store.put(f"blobs/ada/{digest}", data)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    await call(cluster.apply, quota)
    soon_over(place, 4)
    inputs = [{"type": "upload", "digest": f"sha256:{digest}", "path": "in.csv"}]
    ref = await place.begin("print(open('in.csv').read(), end='')", inputs=inputs, resources=SMALL)
    await asyncio.sleep(5)
    soon_over(place, 3600)
    await call(cluster.kubectl, "-n", namespace, "delete", "resourcequota", "none")
    seen = await place.until(ref, "ended", seconds=200)
    assert seen.claims.get("end", {}).get("outcome") == "ok", seen
    assert await place.log(ref) == data and seen.log_complete
    pods = json.loads(await call(cluster.kubectl, "get", "pods", "-A", "-l", f"{MANAGED_BY}={MANAGER}", "-o", "json"))
    assert pods["kind"] == "List"
