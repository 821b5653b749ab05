"""Environments on a real API server without nodes: which Jobs are made for them, how many, and whose folders go."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import EnvironmentState
from jupyter_trainjob.backends.kubernetes import environments, objects
from jupyter_trainjob.backends.kubernetes import environments_objects as made
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH
from jupyter_trainjob.backends.kubernetes.environments_pod import TOLD
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.resources.names import requirements_key
from jupyter_trainjob.resources.trainjob import Requirements
from tests.backends.place import a_request

from .apiserver import ApiServer, Proxy
from .test_backend_api import JOBS, MAIN, PODS, SECRETS, T0, Place, a_pod, bury, observed, ship
from .test_delivery import SigningFilesystem

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def place(apiserver: ApiServer, proxy: Proxy, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(apiserver, proxy, tmp_path / "store")
    place.settings = replace(place.settings, environments=EnvironmentRules(claim="environments"))
    place.backend = KubernetesBackend(name="cluster", settings=place.settings)
    await place.start()
    yield place
    proxy.faults = []
    for ref in await place.backend.attempts():
        await place.backend.delete(ref)
    query = {"labelSelector": objects.selector(place.settings)}
    for path in (JOBS, PODS, SECRETS):
        found = await place.backend._api.request("GET", path, query=query)
        for one in found.body["items"]:
            body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
            await place.backend._api.request("DELETE", f"{path}/{one['metadata']['name']}", body=body)
    await place.backend.stop()


def ask(place: Place, text: str) -> Requirements:
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    place.store.put(requirements_key(digest), text.encode())
    return Requirements(format="requirements.txt", digest=digest)


def builds(backend: KubernetesBackend) -> list[dict[str, Any]]:
    labelled = [(job, job["metadata"]["labels"]) for job in backend._jobs.objects.values()]
    return [job for job, labels in labelled if labels.get(made.BUILDS) == made.BUILDING]


async def built(place: Place, wanted: Requirements, backend: KubernetesBackend | None = None, store: Any = None) -> str:
    """What its Job, the kubelet and the build itself would do; the folder that holds it."""
    backend, store = backend or place.backend, store or place.store
    before = {job["metadata"]["name"] for job in builds(backend)}
    assert (await backend.environment("u", wanted)).state == "building"
    (job,) = [job for job in builds(backend) if job["metadata"]["name"] not in before]
    name, found = job["metadata"]["name"], await backend._environments._wanted(wanted, "")  # type: ignore[union-attr]
    store.put(f"{environments._prefix(found)}{TOLD}", json.dumps({"packages": [], "bytes": 10, "about": {}}).encode())
    start = {"startTime": "2026-11-22T10:00:00Z", "completionTime": "2026-11-22T10:01:00Z"}
    true = [
        {"type": kind, "status": "True", "lastTransitionTime": start["completionTime"]}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    path = f"{JOBS}/{name}"
    patch = {"status": {**start, "succeeded": 1, "conditions": true, "uncountedTerminatedPods": {}}}
    reply = await backend._api.request("PATCH", f"{path}/status", body=patch, content_type=MERGE_PATCH)
    assert reply.ok, reply.body
    until = time.monotonic() + 20
    while (state := await backend.environment("u", wanted)).state == "building":
        assert time.monotonic() < until, state
        await asyncio.sleep(0.05)
    assert state.state == "ready", state
    return str(job["metadata"]["annotations"][made.FOLDER])


def removals(backend: KubernetesBackend) -> list[dict[str, Any]]:
    labelled = [(job, job["metadata"]["labels"]) for job in backend._jobs.objects.values()]
    return [job for job, labels in labelled if labels.get(made.BUILDS) == made.REMOVING]


async def told(place: Place, job: dict[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Where a Job removes, and what it is told; the watches keep no more than its name."""
    found = (await place.backend._api.request("GET", f"{JOBS}/{job['metadata']['name']}")).body
    where, words = found["spec"]["template"]["spec"]["containers"][0]["command"][-2:]
    return where, json.loads(words)


def age(place: Place, backend: KubernetesBackend, **rules: Any) -> None:
    """Everything that no job needs is old now."""
    keeping: Any = backend._environments
    keeping._settings = replace(place.settings, environments=EnvironmentRules(claim="environments", days=0.0, **rules))


async def test_no_more_are_built_at_once_than_there_is_room_for(place: Place) -> None:
    asked = [place.backend.environment(f"u{number}", ask(place, f"six=={number}\n")) for number in range(8)]
    states = await asyncio.gather(*asked)
    assert len(builds(place.backend)) == environments.AT_ONCE
    waiting = [one for one in states if one.since is None]
    assert len(waiting) == 6 and all("until other environments are built" in one.message for one in waiting)


async def test_what_running_jobs_have_is_no_garbage(place: Place) -> None:
    """Not by its record, which may be gone (a volume was emptied, another runtime), and not when its Job is gone."""
    wanted, gone = ask(place, "six\n"), ask(place, "seven\n")
    held, old = await built(place, wanted), await built(place, gone)
    request = a_request(uuid.uuid4().hex, "1", environment={"requirements": wanted.model_dump(by_alias=True)})
    await place.backend.create(request)
    job = (await place.backend._api.request("GET", f"{JOBS}/{request.ref.name}")).body
    template = job["spec"]["template"]["metadata"]
    body = {
        "metadata": {"name": f"{request.ref.name}-pod", **template},
        "spec": {"containers": [{"name": "main", "image": "none"}], "nodeName": "node1"},
    }
    assert (await place.backend._api.request("POST", PODS, body=body)).ok
    keeping: Any = place.backend._environments

    async def seen() -> bool:
        return body["metadata"]["name"] in keeping._pods.objects

    await place.until(seen)
    await keeping.distrust(place.backend._attempts.job(request.ref))
    age(place, place.backend)
    assert await place.backend.collect_environments([]) == 1
    (job,) = removals(place.backend)
    where, words = await told(place, job)
    assert words == {"remove": [old.split("/")[1]], "known": [held.split("/")[1]]}
    assert where == f"trainjob-{place.settings.installation_label}/{held.split('/')[0]}"
    for name in (job["metadata"]["name"], request.ref.name):
        await place.backend._api.request("DELETE", f"{JOBS}/{name}", body={"propagationPolicy": "Background"})

    async def alone() -> bool:
        return place.backend._attempts.job(request.ref) is None and not removals(place.backend)

    await place.until(alone)
    last = await built(place, gone)
    assert await place.backend.collect_environments([]) == 1
    _, words = await told(place, removals(place.backend)[0])
    assert words == {"remove": [last.split("/")[1]], "known": [held.split("/")[1]]}, "its pod still has it"


@pytest.mark.parametrize(
    "message",
    [
        "The kernel '/trainjob/environment/bin/python' can't be started: No such file or directory",
        "The R packages of this job are gone: there is no folder '/trainjob/environment/library'. Run it again with "
        "retry.",
    ],
    ids=["python", "r"],
)
async def test_one_that_is_not_there_when_a_job_starts_is_built_anew(place: Place, message: str) -> None:
    """A volume that was emptied mounts: the kubelet makes an empty folder."""
    wanted = ask(place, "six\n")
    await built(place, wanted)
    request = a_request(uuid.uuid4().hex, "1", environment={"requirements": wanted.model_dump(by_alias=True)})
    await place.backend.create(request)
    pod = await a_pod(place, request.ref)
    main = {**MAIN, "exitCode": 1, "limit": "BackendError", "message": message}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": T0, "finishedAt": T0}}
    told = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
    patch = {"status": {"phase": "Failed", "containerStatuses": [told]}}
    reply = await place.backend._api.request("PATCH", f"{PODS}/{pod}/status", body=patch, content_type=MERGE_PATCH)
    assert reply.ok, reply
    ship(place, request.ref, main=main, claims={})
    seen = await observed(place, request.ref, "ended")
    assert (seen.evidence["limit"], seen.evidence["message"]) == ("BackendError", message)

    async def anew() -> bool:
        return (await place.backend.environment("u2", wanted)).state == "building"

    await place.until(anew)
    await bury(place, pod)


async def test_backends_that_share_namespace_and_claim_never_meet(place: Place, tmp_path: Path) -> None:
    """Another backend of this server, and another server with an object store of its own."""
    wanted = ask(place, "six\n")
    stores = {"cluster": place.store, "gpu": place.store, "elsewhere": SigningFilesystem(tmp_path / "other")}
    stores["elsewhere"].put(requirements_key(wanted.digest), b"six\n")
    backends = {"cluster": place.backend}
    try:
        for name in ("gpu", "elsewhere"):
            called = "cluster" if name == "elsewhere" else name
            backends[name] = KubernetesBackend(name=called, settings=place.settings)
            await backends[name].start(stores[name], lambda ref: None)
        first = await asyncio.gather(*(backend.environment("u", wanted) for backend in backends.values()))
        assert [one.state for one in first] == ["building"] * 3

        async def told_all() -> bool:
            return all(len(builds(backend)) == 3 for backend in backends.values())

        await place.until(told_all)
        assert len({job["metadata"]["annotations"][made.FOLDER].split("/")[0] for job in builds(place.backend)}) == 3
        keeping: Any = backends["elsewhere"]._environments
        keeping._began -= 2 * environments.ABANDONED_SECONDS
        for waiting in keeping._waiting.values():
            waiting.asked = 0.0
        age(place, backends["elsewhere"])
        await backends["elsewhere"].collect_environments([])

        async def ended() -> bool:
            return len(builds(place.backend)) == 2

        await place.until(ended)
        (job,) = removals(backends["elsewhere"])
        where, words = await told(place, job)
        assert where.endswith(f"/{keeping._records.scope()}") and len(words["remove"]) == 1
        assert (await place.backend.environment("u", wanted)).state == "building", "its own goes on"
        assert (await backends["gpu"].environment("u", wanted)).state == "building"
    finally:
        for name in ("gpu", "elsewhere"):
            if name in backends:
                await backends[name].stop()


async def test_the_next_server_of_an_object_store_knows_what_is_built(place: Place) -> None:
    wanted = ask(place, "six\n")
    await built(place, wanted)
    again = await place.again()
    assert (await again.environment("u2", wanted)).state == "ready"


async def test_a_build_counts_once(place: Place) -> None:
    before = place.backend._attempts.ours()
    assert (await place.backend.environment("u", ask(place, "six\n"))).state == "building"
    assert len(builds(place.backend)) == 1
    assert place.backend._attempts.ours() == before, "it is among the helpers, which count as others do"
    body = {
        "metadata": {"name": f"b-{uuid.uuid4().hex}", "labels": builds(place.backend)[0]["metadata"]["labels"]},
        "spec": {"containers": [{"name": "build", "image": "none", "resources": {"requests": {"cpu": "1"}}}]},
    }
    assert (await place.backend._api.request("POST", PODS, body=body)).ok

    async def seen() -> bool:
        return [pod["requests"].cpu for pod in place.backend._attempts.helpers()] == [1000]

    await place.until(seen)
    assert place.backend._attempts.ours() == before


async def test_an_image_that_is_allowed_no_more_builds_nothing(place: Place) -> None:
    wanted, image = ask(place, "six\n"), "registry.example.org/old/lab:1"
    state = await place.backend.environment("u", wanted, image=image)
    assert state == EnvironmentState(
        "failed",
        "The environment of this job is not built: the image 'registry.example.org/old/lab:1' can't be chosen: this "
        "server's operator allows none but those of the profiles. Submit it again with another image, or without.",
    )
    assert builds(place.backend) == []
    assert (await place.backend.environment("u", wanted, image=image, profile_image=image)).state == "building"
