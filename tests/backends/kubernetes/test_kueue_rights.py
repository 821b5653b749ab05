"""That the server needs each of the rights that it gets with Kueue, on a real API server that knows Kueue's types.

Kueue itself does not run there: whether the API server lets somebody in is decided before.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.kubernetes import watch
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.deploy.rights import wanted
from jupyter_trainjob.backends.kubernetes.kueue import GROUP, VISIBILITY
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from tests.backends.place import a_request

from .apiserver import BUILD, ApiServer, programs
from .test_delivery import SigningFilesystem
from .test_deploy_api import DEPLOY, Cluster, cluster, plan, without  # noqa: F401 - the fixture

pytestmark = pytest.mark.asyncio

WITH_KUEUE = replace(DEPLOY, kueue=True)
RIGHTS = [right for right in wanted(kueue=True) if right.only == "kueue"]


def types() -> Iterator[dict[str, Any]]:
    """Kueue's, as it pins them, and the one that it serves itself, without what objects may hold."""
    source = BUILD.parent / "src" / "kueue"
    subprocess.run(["go", "mod", "download", "sigs.k8s.io/kueue"], cwd=source, check=True)
    told = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kueue"]
    folder = subprocess.run(told, cwd=source, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    for name in ("localqueues", "workloads", "workloadpriorityclasses"):
        file = Path(folder, "config", "components", "crd", "bases", f"{GROUP}_{name}.yaml")
        found = yaml.load(file.read_text(), yaml.CSafeLoader)
        yield open_to_all(found)
        if name == "localqueues":
            spec = found["spec"] | {"group": VISIBILITY}
            yield open_to_all({**found, "metadata": {"name": f"{name}.{VISIBILITY}"}, "spec": spec})


def open_to_all(found: dict[str, Any]) -> dict[str, Any]:
    """The API server takes long over schemas of ten thousand lines, which nothing here needs."""
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {key: version[key] for key in ("name", "served", "storage")} | {"schema": anything}
        for version in found["spec"]["versions"]
    ]
    kept = {key: found["spec"][key] for key in ("group", "names", "scope")}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": found["metadata"]["name"]},
        "spec": {**kept, "versions": versions},
    }


@pytest.fixture(scope="module")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One of its own: others rely on there being no Kueue."""
    if (bin := programs()) is None:
        pytest.skip("kube-apiserver can't be built here: it takes Go ≥ 1.26 and openssl")
    server = ApiServer(tmp_path_factory.mktemp("kueue"), bin)
    try:
        server.start()
        with server.client() as client:
            for one in types():
                made = client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=one)
                assert made.status_code == 201, made.text
            deadline = time.monotonic() + 60
            paths = (f"/apis/{GROUP}/v1beta2/workloads", f"/apis/{VISIBILITY}/v1beta2/localqueues")
            while not all(client.get(path).is_success for path in paths):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield server
    finally:
        server.end()


@asynccontextmanager
async def serving(settings: KubernetesSettings, folder: Path) -> AsyncIterator[KubernetesBackend]:
    backend = KubernetesBackend(name="cluster", settings=settings)
    await backend.start(SigningFilesystem(folder), lambda ref: None)
    try:
        yield backend
    finally:
        await backend.stop()


async def why_it_waits(backend: KubernetesBackend, ref: AttemptRef) -> str:
    found = (await backend.places([ref])).get(ref)
    return found.message if found is not None else ""


async def warns(backend: KubernetesBackend, ref: AttemptRef) -> str:
    await backend.places([ref])
    return " ".join(backend.describe()["warnings"])


async def takes_a_queue(backend: KubernetesBackend, ref: AttemptRef) -> str:
    return await _said(backend.check_kueue("absent", []))


async def takes_a_class(backend: KubernetesBackend, ref: AttemptRef) -> str:
    """Of a LocalQueue that is there."""
    return await _said(backend.check_kueue("jobs", ["absent"]))


async def asks_the_line(backend: KubernetesBackend, ref: AttemptRef) -> str:
    return await _said(backend._kueue._ask("jobs"))


async def _said(asked: Awaitable[Any]) -> str:
    try:
        await asked
    except BackendError as error:
        return str(error)
    return "nothing is wrong with it"


UNTOLD = "nothing is wrong with it"
NEEDS: dict[tuple[str, str], tuple[Callable[[KubernetesBackend, AttemptRef], Awaitable[str]], str, str]] = {
    ("workloads", "list"): (
        why_it_waits,
        "why is not known here, for this server may not read Workloads",
        "Kueue (LocalQueue jobs) has not taken notice of it",
    ),
    ("workloads", "watch"): (warns, 'cannot watch resource "workloads"', ""),
    ("localqueues", "get"): (takes_a_queue, UNTOLD, "has no LocalQueue 'absent'"),
    ("localqueues/pendingworkloads", "get"): (
        asks_the_line,
        'cannot get resource "localqueues/pendingworkloads"',
        UNTOLD,
    ),
    ("workloadpriorityclasses", "get"): (takes_a_class, UNTOLD, "the cluster has no WorkloadPriorityClass 'absent'"),
}
"""How each right is used, what is told without it, and with it."""


async def test_each_right_that_comes_with_kueue_is_needed(
    cluster: Cluster,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.2)
    items = [item for item in plan(cluster.settings, WITH_KUEUE) if item["kind"] not in ("LimitRange", "ResourceQuota")]
    await cluster.apply(items)
    queue = {"apiVersion": f"{GROUP}/v1beta2", "kind": "LocalQueue", "metadata": {"name": "jobs"}, "spec": {}}
    assert (await cluster.request("POST", f"/apis/{GROUP}/v1beta2/namespaces/NS/localqueues", queue)).ok
    account = await cluster.as_account()
    request = replace(a_request(uuid.uuid4().hex, "print(1)"), local_queue="jobs")
    async with serving(account, tmp_path) as backend:
        await backend.create(request)

    assert {(right.resource, right.verb) for right in RIGHTS} == set(NEEDS)
    for right in RIGHTS:
        use, lost, _ = NEEDS[right.resource, right.verb]
        async with without(cluster, right, WITH_KUEUE), serving(account, tmp_path) as backend:
            assert lost in await told(use, backend, request.ref, lost), f"without the right to {right}"
    async with serving(account, tmp_path) as backend:
        for right in RIGHTS:
            use, lost, kept = NEEDS[right.resource, right.verb]
            said = await told(use, backend, request.ref, kept)
            assert kept in said and lost not in said, f"with the right to {right}: {said}"
        await backend.delete(request.ref)


async def told(
    use: Callable[[KubernetesBackend, AttemptRef], Awaitable[str]],
    backend: KubernetesBackend,
    ref: AttemptRef,
    expected: str,
) -> str:
    """What is said, once it is what is expected, or in the end."""
    deadline = time.monotonic() + 60
    while expected not in (said := await use(backend, ref)) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return said
