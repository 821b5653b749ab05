"""Deploying to a real API server without nodes: what becomes of objects, and that the server needs each right."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import delivery, watch
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import Access, Connection
from jupyter_trainjob.backends.kubernetes.deploy import access, apply
from jupyter_trainjob.backends.kubernetes.deploy.apply import DeployError
from jupyter_trainjob.backends.kubernetes.deploy.bounds import StorePlace
from jupyter_trainjob.backends.kubernetes.deploy.plan import Plan, manifests, wire
from jupyter_trainjob.backends.kubernetes.deploy.rights import Right, is_of_all_pods, wanted
from jupyter_trainjob.backends.kubernetes.deploy.service import CONFIGURATION
from jupyter_trainjob.backends.kubernetes.deploy.settings import DeploySettings
from jupyter_trainjob.backends.kubernetes.doctor import asks, examine, policies
from jupyter_trainjob.backends.kubernetes.handover import Handover
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.backends.kubernetes.volumes import Manifest
from jupyter_trainjob.cli import command
from tests.backends.place import a_request

from .apiserver import ApiServer
from .attempts import IMAGES
from .test_delivery import SigningFilesystem

pytestmark = pytest.mark.asyncio

DEPLOY = DeploySettings(service_image="docker.io/trainjob/service:1")
STORE = StorePlace.of("https://10.1.2.3:9000")


def plan(settings: KubernetesSettings, deploy: DeploySettings = DEPLOY) -> list[Manifest]:
    return manifests(Plan(settings, deploy, STORE, {CONFIGURATION: "{}\n"}))


class Cluster:
    """One namespace, with the cluster's operator at the keyboard."""

    def __init__(self, apiserver: ApiServer, folder: Path) -> None:
        self.apiserver, self.folder = apiserver, folder
        self.settings = KubernetesSettings(
            namespace=f"ml-{uuid.uuid4().hex[:8]}", images=IMAGES, kubeconfig=apiserver.kubeconfig("admin")
        )
        self.api: Connection
        self.made: dict[str, str] = {}

    async def apply(self, items: list[Manifest], **options: Any) -> dict[str, str]:
        self.made = {one.name: one.change async for one in apply.apply(self.api, items, **options)}
        return self.made

    async def request(self, method: str, path: str, body: Manifest | None = None, **more: Any) -> Any:
        inside = path.replace("NS", self.settings.namespace)
        return await self.api.request(method, inside, body=body, **more)

    async def as_account(self) -> KubernetesSettings:
        """The settings of a server that is nothing but the ServiceAccount."""
        path = f"/api/v1/namespaces/NS/serviceaccounts/{DEPLOY.account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        token = (await self.request("POST", path, body)).body["status"]["token"]
        known = yaml.safe_load(Path(self.settings.kubeconfig).read_text())
        known["users"] = [{"name": known["users"][0]["name"], "user": {"token": token}}]
        path_of = self.folder / "account.kubeconfig"
        path_of.write_text(json.dumps(known))
        return replace(self.settings, kubeconfig=str(path_of))


@pytest_asyncio.fixture
async def cluster(apiserver: ApiServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(apiserver, tmp_path)
    made.api = await Connection.open(Access(made.settings.kubeconfig))
    yield made
    await made.api.close()


async def test_what_is_as_wanted_is_left_alone(cluster: Cluster) -> None:
    first = await cluster.apply(plan(cluster.settings))
    assert len(first) == 16 and set(first.values()) == {"created"}
    second = await cluster.apply(plan(cluster.settings))
    assert [name for name, change in second.items() if change != "unchanged"] == []
    other = await cluster.apply(plan(cluster.settings, replace(DEPLOY, quota={"pods": "7"})))
    assert {name for name, change in other.items() if change == "changed"} == {"ResourceQuota/trainjob"}
    quota = await cluster.request("GET", "/api/v1/namespaces/NS/resourcequotas/trainjob")
    assert quota.body["spec"]["hard"] == {"pods": "7"}, "what is no longer wanted of an object goes"


async def test_policies_that_are_there_are_as_wanted_until_somebody_opens_one(cluster: Cluster) -> None:
    """As the API server tells them, with all that it fills in."""
    named = StorePlace.of("https://minio.example.org", ["192.0.2.7", "2001:db8::7"])
    deploy = replace(DEPLOY, index_peers=({"ipBlock": {"cidr": "10.9.0.0/24", "except": ["10.9.0.8/32"]}},))
    wanted = manifests(Plan(cluster.settings, deploy, named, parts=("namespace", "network")))
    await cluster.apply(wanted)
    path = "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies"
    found = (await cluster.request("GET", path)).body["items"]
    assert len(found) == 4
    assert [one.level for one in policies.judge(found, wanted[1:], cluster.settings)] == ["ok"]
    patch = {"spec": {"egress": [{"ports": [{"port": 443}]}]}}
    more = {"content_type": "application/merge-patch+json"}
    assert (await cluster.request("PATCH", f"{path}/trainjob-store", patch, **more)).ok
    found = (await cluster.request("GET", path)).body["items"]
    told = policies.judge(found, wanted[1:], cluster.settings)
    opened = "trainjob-store opens more than is meant: Pods of jobs may reach anything at TCP 443."
    assert (told[0].level, told[0].message) == ("fail", opened)


async def test_what_somebody_else_changed_is_kept_unless_told(cluster: Cluster) -> None:
    await cluster.apply(plan(cluster.settings))
    path = "/api/v1/namespaces/NS/resourcequotas/trainjob"
    patch = {"spec": {"hard": {"pods": "3"}}}
    more = {"query": {"fieldManager": "bursar"}, "content_type": "application/merge-patch+json"}
    assert (await cluster.request("PATCH", path, patch, **more)).ok
    with pytest.raises(DeployError, match=r'ResourceQuota/trainjob was changed by somebody else.*"bursar".*--force'):
        await cluster.apply(plan(cluster.settings))
    assert (await cluster.apply(plan(cluster.settings), force=True))["ResourceQuota/trainjob"] == "changed"


async def test_a_namespace_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    name = cluster.settings.namespace
    await cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    with pytest.raises(DeployError, match=rf"The namespace '{name}' is there already and is not ours.*say --adopt"):
        await apply.check_namespace(cluster.api, cluster.settings, make=True, adopt=False)
    await apply.check_namespace(cluster.api, cluster.settings, make=True, adopt=True)
    await apply.check_namespace(cluster.api, cluster.settings, make=False, adopt=False)
    await cluster.apply(plan(cluster.settings))
    await apply.check_namespace(cluster.api, cluster.settings, make=True, adopt=False)
    other = replace(cluster.settings, installation="another")
    with pytest.raises(DeployError, match="belongs to another installation of ours"):
        await apply.check_namespace(cluster.api, other, make=True, adopt=False)
    missing = replace(cluster.settings, namespace=f"{name}-not")
    with pytest.raises(DeployError, match=r"has no namespace .* and the part 'namespace' is left out"):
        await apply.check_namespace(cluster.api, missing, make=False, adopt=False)


async def test_two_installations_do_not_overwrite_each_other(cluster: Cluster) -> None:
    """In a namespace that somebody gave to both."""
    await cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": cluster.settings.namespace}})
    given = replace(DEPLOY, leave_out=("namespace",))
    await apply.check_objects(cluster.api, cluster.settings, plan(cluster.settings, given), adopt=False)
    await cluster.apply(plan(cluster.settings, given))
    await apply.check_objects(cluster.api, cluster.settings, plan(cluster.settings, given), adopt=False)
    other = replace(cluster.settings, installation="another")
    for adopt in (False, True):
        with pytest.raises(DeployError, match=r"these belong to another installation of ours, .*Deployment/") as told:
            await apply.check_objects(cluster.api, other, plan(other, given), adopt=adopt)
    for name in cluster.made:
        assert name in str(told.value), f"{name} has a name that both would use"
    assert "Give this one a namespace of its own (KubernetesBackendSettings.namespace), or" in str(told.value)


async def test_the_command_touches_nothing_of_another_installation(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "none"))
    settings = cluster.settings
    given = {
        "TrainJobExtension": {"backends": {"cluster": {"type": "kubernetes"}}},
        "KubernetesBackendSettings": {
            "kubeconfig": settings.kubeconfig,
            "namespace": settings.namespace,
            "images": dict(IMAGES),
        },
        "ObjectStoreSettings": {"url": "s3+https://10.1.2.3:9000/jobs/ml"},
        "KubernetesDeploySettings": {"leave_out": ["namespace"], "service_image": DEPLOY.service_image},
    }
    (tmp_path / "operator.json").write_text(json.dumps(given))
    words = ["deploy", "--no-doctor", "--config", str(tmp_path / "operator.json")]
    await cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": cluster.settings.namespace}})
    assert await asyncio.to_thread(command.run, words) == 0, capsys.readouterr().err
    capsys.readouterr()
    others = [*words, "--KubernetesBackendSettings.installation=another", "--adopt", "--force"]
    assert await asyncio.to_thread(command.run, others) == 1
    said = capsys.readouterr()
    assert "belong to another installation of ours" in said.err and said.out == "", said
    assert await asyncio.to_thread(command.run, words) == 0
    assert "Nothing changed.\n" in capsys.readouterr().out


async def test_an_object_of_somebody_else_is_not_overwritten(cluster: Cluster) -> None:
    await cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": cluster.settings.namespace}})
    theirs = {"metadata": {"name": "trainjob"}, "data": {"word": "c2VjcmV0"}}
    assert (await cluster.request("POST", "/api/v1/namespaces/NS/secrets", theirs)).ok
    items = plan(cluster.settings)
    with pytest.raises(DeployError, match=r"These are there already and are not ours: Secret/trainjob\. .*--adopt"):
        await apply.check_objects(cluster.api, cluster.settings, items, adopt=False)
    await apply.check_objects(cluster.api, cluster.settings, items, adopt=True)


async def test_nobody_waits_for_a_service_whose_secrets_are_missing(cluster: Cluster) -> None:
    """As after the first deploy, which makes the namespace that they go into."""
    deploy = replace(DEPLOY, leave_out=("images",))
    await cluster.apply(plan(cluster.settings, deploy))
    patient = examine.Patient(cluster.settings, deploy, None, "https://10.1.2.3:9000", patience_seconds=3600)

    async def look() -> dict[str, str]:
        return {one.check: f"{one.level} {one.message}" async for one in examine._objects(cluster.api, patient)}

    told = await asyncio.wait_for(look(), 120)
    assert told["secret trainjob-store"].startswith("fail It is missing; it holds the file with the object store's")
    assert told["secret trainjob-tokens"].startswith("fail ") and told["service"].startswith("fail 0 of 1 pods are")


async def test_who_lacks_a_right_is_told_which(cluster: Cluster) -> None:
    await cluster.apply(plan(cluster.settings))
    weak = await Connection.open(Access((await cluster.as_account()).kubeconfig))
    try:
        with pytest.raises(DeployError, match=r"You lack the right to get namespaces \(here '.*leave_out"):
            await apply.check_namespace(weak, cluster.settings, make=True, adopt=False)
        deploy = replace(DEPLOY, leave_out=("namespace", "cluster-rights"))
        with pytest.raises(DeployError, match=r"You lack the right to get serviceaccounts \(here 'trainjob-server'\)"):
            async for _ in apply.apply(weak, plan(cluster.settings, deploy)):
                pass
    finally:
        await weak.close()


async def test_a_field_that_the_server_does_not_know_is_told(cluster: Cluster) -> None:
    items = plan(cluster.settings)
    items[0]["spec"] = {"finalisers": []}
    with pytest.raises(DeployError, match=r"refuses it, perhaps because it is older than this package.*finalisers"):
        await cluster.apply(items)
    items = plan(cluster.settings)
    items[0]["apiVersion"] = "v9"
    with pytest.raises(DeployError, match="does not know v9 Namespace"):
        await cluster.apply(items)


# The rights


@asynccontextmanager
async def without(cluster: Cluster, right: Right, deploy: DeploySettings = DEPLOY) -> AsyncIterator[None]:
    """The server's account, less one right; one in the namespace also where the whole cluster gives it."""
    makers = (access.cluster_role,) if right.cluster else (access.role, access.cluster_role)
    whole = [wire(make(cluster.settings, deploy)) for make in makers]
    await cluster.apply([{**role, "rules": list(less(role["rules"], right))} for role in whole])
    await until(lambda: has(cluster, right), wanted=False)
    try:
        yield
    finally:
        await cluster.apply(whole)
        await until(lambda: has(cluster, right), wanted=True)


def less(rules: list[Manifest], right: Right) -> Iterator[Manifest]:
    for rule in rules:
        ours = (rule["apiGroups"], rule["resources"]) == ([right.group], [right.resource])
        if verbs := [verb for verb in rule["verbs"] if not (ours and verb == right.verb)]:
            yield {**rule, "verbs": verbs}


async def has(cluster: Cluster, right: Right) -> bool:
    [found] = await asks.rights(cluster.api, cluster.settings, [right], DEPLOY.account)
    assert found.level == "ok" or f"lacks the right to {right}" in found.message
    return found.level == "ok"


async def until(check: Callable[[], Awaitable[bool]], *, wanted: bool, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while await check() != wanted:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_server_that_may_not_read_all_pods_is_told_what_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    deploy = replace(DEPLOY, all_pods=False)
    await cluster.apply(plan(cluster.settings, deploy))
    rights, lost = wanted(), [right for right in wanted() if is_of_all_pods(right)]
    await until(lambda: has(cluster, rights[0]), wanted=True)
    well, remark = await asks.rights(cluster.api, cluster.settings, rights, DEPLOY.account, spared=lost)
    assert (well.level, remark.level) == ("ok", "warn") and f"all {len(rights) - 2} other things" in well.message
    assert "may not list and watch pods in the whole cluster: what others have of the nodes is not" in remark.message
    assert {one.level for one in await asks.rights(cluster.api, cluster.settings, rights, DEPLOY.account)} == {"fail"}

    backend = KubernetesBackend(name="cluster", settings=await cluster.as_account())
    await backend.start(SigningFilesystem(tmp_path), lambda ref: None)
    try:
        deadline = time.monotonic() + 60
        while "pods of all" not in (said := " ".join(backend.describe()["warnings"])) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
    finally:
        await backend.stop()
    assert says(lost[0]) in said and "may not list nodes" not in said, "nodes are its own matter"


class Server:
    """The backend as the service runs it. Each method does what one right is for, or more."""

    def __init__(self, cluster: Cluster, settings: KubernetesSettings, caplog: pytest.LogCaptureFixture) -> None:
        self.cluster, self.settings, self.caplog = cluster, settings, caplog
        self.store: Any = SigningFilesystem(cluster.folder)
        self.backend = KubernetesBackend(name="cluster", settings=settings)
        self.api: Connection

    async def start(self) -> None:
        self.api = await Connection.open(Access(self.settings.kubeconfig))
        self.secrets = Handover(self.api, self.store, self.settings, delivery.terms("cluster", self.settings))
        await self.backend.start(self.store, lambda ref: None)

    async def stop(self) -> None:
        for ref in await self.backend.attempts():
            await self.backend.delete(ref)
        await self.backend.stop()
        await self.api.close()

    async def looks(self, right: Right) -> str:
        """What a server that starts without the right says."""
        backend = KubernetesBackend(name="other", settings=self.settings)
        expected, told = says(right), ""
        try:
            await backend.start(self.store, lambda ref: None)
            deadline = time.monotonic() + 60
            while expected not in told and time.monotonic() < deadline:
                told = " ".join(backend.describe()["warnings"])
                await asyncio.sleep(0.05)
        finally:
            await backend.stop()
        return told

    async def creates(self, right: Right) -> Any:
        request = a_request(uuid.uuid4().hex, "print(1)")
        await self.backend.create(request)
        return request.ref

    async def meets_another(self, right: Right) -> None:
        """An object of the name is there already: whose is it?"""
        request = a_request(uuid.uuid4().hex, "print(1)")
        group = "/apis/batch/v1" if right.resource == "jobs" else "/api/v1"
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
        spec = {"spec": {"suspend": True, "template": {"spec": pod}}} if right.resource == "jobs" else {}
        body = {"metadata": {"name": request.ref.name}, **spec}
        assert (await self.cluster.request("POST", f"{group}/namespaces/NS/{right.resource}", body)).ok
        await self.backend.create(request)

    async def cancels(self, right: Right) -> None:
        """A job with a pod on a node, which here nobody makes."""
        ref = await self.creates(right)
        job = (await self.cluster.request("GET", f"/apis/batch/v1/namespaces/NS/jobs/{ref.name}")).body
        pod = {
            "metadata": {"name": f"{ref.name}-pod", "labels": job["metadata"]["labels"]},
            "spec": {**job["spec"]["template"]["spec"], "nodeName": "node1"},
        }
        assert (await self.cluster.request("POST", "/api/v1/namespaces/NS/pods", pod)).ok
        await until(lambda: self._sees_pod(ref), wanted=True)
        await self.backend.cancel(ref, "enough")

    async def _sees_pod(self, ref: Any) -> bool:
        return (await self.backend.observe(ref)).node == "node1"

    async def deletes(self, right: Right) -> None:
        await self.backend.delete(await self.creates(right))

    async def renews(self, right: Right) -> None:
        ref = await self.creates(right)
        job = (await self.cluster.request("GET", f"/apis/batch/v1/namespaces/NS/jobs/{ref.name}")).body
        await self.secrets.renew(ref, job)

    async def finds_secrets(self, right: Right) -> None:
        await self.secrets.all()

    async def removes_a_secret(self, right: Right) -> None:
        ref = a_request("nobody", "1").ref
        await self.secrets.remove(ref, with_job=False)

    async def asks_why(self, right: Right) -> str:
        """A Job without a pod is looked into: the log tells what comes of it."""
        ref = await self.creates(right)
        deadline = time.monotonic() + 60
        while says(right) not in self.caplog.text and time.monotonic() < deadline:
            await self.backend.observe(ref)
            await asyncio.sleep(0.1)
        return self.caplog.text


def says(right: Right) -> str:
    """What the server says where it lacks a right."""
    if right.cluster and right.resource == "pods":
        return "the server may not list the pods of all namespaces"
    return f'cannot {right.verb} resource "{right.resource}"'


NEEDS: dict[tuple[str, str], Callable[[Server, Right], Awaitable[Any]]] = {
    ("jobs", "create"): Server.creates,
    ("jobs", "get"): Server.meets_another,
    ("jobs", "patch"): Server.cancels,
    ("jobs", "delete"): Server.deletes,
    ("pods", "delete"): Server.cancels,
    ("secrets", "create"): Server.creates,
    ("secrets", "get"): Server.renews,
    ("secrets", "list"): Server.finds_secrets,
    ("secrets", "patch"): Server.meets_another,
    ("secrets", "delete"): Server.removes_a_secret,
    ("events", "list"): Server.asks_why,
}
"""What breaks without a right; ``list`` and ``watch`` of all others: :meth:`Server.looks`."""


async def test_the_server_needs_each_of_its_rights_and_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.2)
    items = [item for item in plan(cluster.settings) if item["kind"] not in ("LimitRange", "ResourceQuota")]
    await cluster.apply(items)
    server = Server(cluster, await cluster.as_account(), caplog)
    await server.start()
    try:
        assert server.backend.describe()["warnings"] == ["the cluster tells of no node: may the server read them?"]
        for right in wanted():
            what = Server.looks if right.cluster else NEEDS.get((right.resource, right.verb), Server.looks)
            async with without(cluster, right):
                caplog.clear()
                try:
                    said = str(await what(server, right))
                except BackendError as error:
                    said = str(error)
                assert says(right) in said, f"without the right to {right}: {said}"
        for need in set(NEEDS.values()) - {Server.meets_another, Server.asks_why}:
            await need(server, wanted()[0])
    finally:
        await server.stop()
