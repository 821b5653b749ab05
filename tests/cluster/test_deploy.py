"""``jupyter trainjob deploy`` on a real cluster: what it makes, whom it refuses, and that no right is too much."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import delivery, watch
from jupyter_trainjob.backends.kubernetes.connect import Access, Connection
from jupyter_trainjob.backends.kubernetes.deploy import access
from jupyter_trainjob.backends.kubernetes.deploy.plan import wire
from jupyter_trainjob.backends.kubernetes.deploy.rights import Right, wanted
from jupyter_trainjob.backends.kubernetes.deploy.settings import DeploySettings
from jupyter_trainjob.backends.kubernetes.handover import Handover
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.client import Client
from tests.backends.place import a_request
from tests.images.archives import reference
from tests.served import Served

from . import objects
from .backends import ClusterPlace, bring_image
from .backends import settings as as_configured
from .cluster import Cluster
from .installations import Installation, installed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
TRIED_AT_ONCE = 5
"""So many of the rights are taken away in one run; with --soak all of them."""


@pytest.fixture
def installation(cluster: Cluster, tmp_path: Path, python_image: None) -> Iterator[Installation]:
    with installed(cluster, tmp_path) as made:
        yield made


def test_it_is_made_and_tried_and_a_second_time_changes_nothing(installation: Installation) -> None:
    first = installation.run("deploy")
    assert first.status == 0, first
    assert f"Namespace/{installation.namespace} created\nServiceAccount/trainjob-server created\n" in first.out
    assert "WARN  image of r: None is configured" in first.out and "FAIL" not in first.out
    second = installation.run("deploy", "--no-doctor")
    assert second.status == 0 and "Nothing changed.\n" in second.out and " created" not in second.out, second

    installation.set("KubernetesDeploySettings", quota={"pods": "7"})
    third = installation.run("deploy", "--no-doctor")
    assert third.status == 0 and "ResourceQuota/trainjob changed\n" in third.out, third
    assert "1 changed, 9 unchanged." in third.out
    assert json.loads(installation.kubectl("get", "quota", "trainjob", "-o", "json"))["spec"]["hard"] == {"pods": "7"}


def test_what_somebody_else_changed_is_not_overwritten_unasked(installation: Installation) -> None:
    assert installation.run("deploy", "--no-doctor").status == 0
    patch = json.dumps({"spec": {"hard": {"pods": "3"}}})
    installation.kubectl("patch", "quota", "trainjob", "--type=merge", "--field-manager=bursar", f"--patch={patch}")
    refused = installation.run("deploy")
    assert refused.status == 1 and "ResourceQuota/trainjob was changed by somebody else" in refused.err, refused
    assert '"bursar"' in refused.err and "say --force" in refused.err
    assert "ResourceQuota/trainjob changed\n" in installation.run("deploy", "--force", "--no-doctor").out


def test_a_namespace_of_somebody_else_is_left_alone(installation: Installation) -> None:
    installation.cluster.apply(objects.namespace(installation.namespace))
    refused = installation.run("deploy")
    assert refused.status == 1 and refused.out == "", refused
    assert f"The namespace '{installation.namespace}' is there already and is not ours" in refused.err
    assert "say --adopt" in refused.err
    assert "NetworkPolicy" not in installation.kubectl("get", "networkpolicies", "-o", "name")
    assert installation.run("deploy", "--adopt", "--no-doctor").status == 0
    installation.set("KubernetesBackendSettings", installation="another")
    assert "belongs to another installation of ours" in installation.run("deploy").err


def test_who_lacks_a_right_is_told_which(installation: Installation) -> None:
    assert installation.run("deploy", "--no-doctor").status == 0
    installation.set("KubernetesBackendSettings", kubeconfig=str(installation.as_account()))
    refused = installation.run("deploy")
    assert refused.status == 1, refused
    assert f"You lack the right to get namespaces (here '{installation.namespace}')" in refused.err
    installation.set("KubernetesDeploySettings", leave_out=["service", "images", "namespace", "cluster-rights"])
    refused = installation.run("deploy")
    assert "You lack the right to get serviceaccounts (here 'trainjob-server')" in refused.err
    assert "KubernetesDeploySettings.leave_out" in refused.err


def test_a_cluster_that_is_away_is_told(installation: Installation) -> None:
    away = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", installation.cluster.kubeconfig.read_text())
    (installation.folder / "away").write_text(away)
    installation.set("KubernetesBackendSettings", kubeconfig=str(installation.folder / "away"))
    refused = installation.run("deploy")
    assert refused.status == 1 and "The Kubernetes API server at https://127.0.0.1:1 can't be reached" in refused.err


def test_everything_that_can_be_configured_is_taken_by_the_cluster(installation: Installation) -> None:
    """Strictly: no field is unknown to it."""
    installation.set(
        "KubernetesBackendSettings",
        images={name: f"registry.example.org/trainjob/{name}:1" for name in ("python", "r", "scala")},
        tolerations=[{"key": "dedicated", "operator": "Exists"}],
        node_selector={"pool": "jobs"},
        pull_secrets=["registry"],
    )
    installation.set(
        "KubernetesDeploySettings",
        leave_out=[],
        service_image="registry.example.org/trainjob/service:1",
        replicas=2,
        database_secret="trainjob-database",
        kueue=True,
        index_peers=[{"ipBlock": {"cidr": "10.2.0.0/24"}}],
        storage_class="fast",
        prepull_images=["registry.example.org/course/lab:1"],
    )
    profiles = installation.folder / "profiles.yaml"
    profiles.write_text(
        "kind: Profile\nmetadata: {name: course}\nspec:\n  volumes:\n"
        "  - {name: data, nfs: {server: nfs.example.org, path: /srv/data}}\n---\nkind: Queue\nmetadata: {name: q}\n"
    )
    printed = installation.run("deploy", "--dry-run", "-o", "json", "-f", str(profiles))
    assert printed.status == 0, printed
    items = json.loads(printed.out)["items"]
    assert len(items) == 18
    installation.cluster.apply(items[0])
    tried = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
    installation.cluster.kubectl(*tried, stdin=printed.out)
    as_yaml = installation.run("deploy", "--dry-run", "-o", "yaml", "-f", str(profiles))
    installation.cluster.kubectl(*tried, stdin=as_yaml.out)


# The rights


def allowed(installation: Installation, right: Right) -> bool:
    words = ["auth", "can-i", right.verb, f"{right.resource}{'.' + right.group if right.group else ''}"]
    place = ["--all-namespaces"] if right.cluster else ["-n", installation.namespace]
    who = f"--as=system:serviceaccount:{installation.namespace}:trainjob-server"
    command = ["kubectl", f"--kubeconfig={installation.cluster.kubeconfig}", *words, *place, who]
    command[0] = str(getattr(installation.cluster, "bin", Path()) / "kubectl")
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "yes"


@contextmanager
def without(installation: Installation, right: Right, settings: KubernetesSettings) -> Iterator[None]:
    """The server's account, less one right."""
    deploy = DeploySettings(leave_out=("service",))
    make = access.cluster_role if right.cluster else access.role
    whole = wire(make(settings, deploy))
    rules = []
    for rule in whole["rules"]:
        ours = (rule["apiGroups"], rule["resources"]) == ([right.group], [right.resource])
        verbs = [verb for verb in rule["verbs"] if not (ours and verb == right.verb)]
        rules += [{**rule, "verbs": verbs}] if verbs else []
    installation.cluster.apply({**whole, "rules": rules})
    wait(lambda: not allowed(installation, right))
    try:
        yield
    finally:
        installation.cluster.apply(whole)
        wait(lambda: allowed(installation, right))


def wait(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Server:
    """The backend as the service runs it, with the account's rights."""

    def __init__(self, installation: Installation, settings: KubernetesSettings) -> None:
        self.installation, self.settings = installation, settings
        self.place = ClusterPlace(installation.store, name="cluster", settings=settings)
        self.api: Any = None

    async def start(self) -> None:
        self.api = await Connection.open(Access(self.settings.kubeconfig))
        terms = delivery.terms("cluster", self.settings)
        self.secrets = Handover(self.api, self.installation.store, self.settings, terms)
        await self.place.start()

    async def stop(self) -> None:
        await self.place.clear()
        await self.api.close()

    async def looks(self, right: Right) -> str:
        """What a server that starts without the right says within a while."""
        place = ClusterPlace(self.installation.store, name="other", settings=self.settings)
        try:
            await place.start()
            until = time.monotonic() + 60
            while time.monotonic() < until:
                told = " ".join(place.backend.describe()["warnings"])
                if f"cannot {right.verb} resource" in told or "pods of all namespaces" in told:
                    return told
                await asyncio.sleep(0.2)
            return told
        finally:
            await place.stop()

    async def creates(self, right: Right) -> None:
        await self.place.begin("print(1)")

    async def meets_another(self, right: Right) -> None:
        """A Job, or a Secret, of the name is there already: whose is it?"""
        request = a_request(f"met-{right.resource}-{right.verb}", "print(1)")
        spec = objects.pod_spec(["true"], "none", "Never")
        for thing in (
            objects.job(request.ref.name, spec, suspend=True),
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": request.ref.name}},
        ):
            thing["metadata"]["namespace"] = self.installation.namespace
            if thing["kind"].lower() in right.resource or right.resource == "jobs":
                self.installation.cluster.apply(thing)
        await self.place.backend.create(request)

    async def cancels(self, right: Right) -> None:
        ref = await self.place.begin("import time\nprint('up', flush=True)\ntime.sleep(300)")
        await self.place.until(ref, "running", seconds=120)
        await self.place.backend.cancel(ref, "enough")

    async def deletes(self, right: Right) -> None:
        await self.place.backend.delete(await self.place.begin("print(1)"))

    async def renews(self, right: Right) -> None:
        ref = await self.place.begin("print(1)")
        job = json.loads(self.installation.kubectl("get", "job", ref.name, "-o", "json"))
        await self.secrets.renew(ref, job)

    async def finds_secrets(self, right: Right) -> None:
        await self.secrets.all()

    async def removes_a_secret(self, right: Right) -> None:
        ref = a_request("nobody", "1").ref
        await self.secrets.remove(ref, ref.name, with_job=False)

    async def tells_why(self, right: Right) -> str:
        """A pod that can't start is explained by its events; without the right the log says so."""
        settings = replace(self.settings, images={"python": "localhost/none:1"}, sidecar_image="localhost/none:1")
        place = ClusterPlace(self.installation.store, name="other", settings=settings)
        await place.start()
        try:
            ref = await place.begin("print(1)")
            await place.until_seen(ref, lambda seen: bool(seen.conditions), seconds=120)
            await asyncio.sleep(2)
        finally:
            await place.stop()
        return ""


CHECKS: dict[tuple[str, str], Callable[[Server, Right], Awaitable[str | None]]] = {
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
    ("events", "list"): Server.tells_why,
}
"""What breaks without a right; ``list`` and ``watch`` of all others: :meth:`Server.looks`."""


@pytest.mark.asyncio
async def test_the_server_needs_each_of_its_rights_and_no_other(
    installation: Installation, soak: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert installation.run("deploy", "--no-doctor").status == 0
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.2)
    account = str(installation.as_account())
    settings = as_configured(installation.cluster, installation.namespace, kubeconfig=account)
    server = Server(installation, settings)
    await server.start()
    try:
        seen = await server.place.run("print('with these rights')", seconds=120)
        assert seen.state == "ended" and not seen.evidence.get("limit"), seen
        rights = wanted()
        for right in rights if soak else random.sample(rights, TRIED_AT_ONCE):
            with without(installation, right, settings):
                said = await complaint(server, right)
            said += caplog.text
            caplog.clear()
            others = right.cluster and right.resource == "pods"
            expected = "pods of all namespaces" if others else f'cannot {right.verb} resource "{right.resource}"'
            assert expected in said, f"without the right to {right}: {said!r}"
    finally:
        await server.stop()


async def complaint(server: Server, right: Right) -> str:
    check = CHECKS.get((right.resource, right.verb), Server.looks) if not right.cluster else Server.looks
    try:
        return str(await check(server, right) or "")
    except BackendError as error:
        return str(error)


# The service


@pytest.fixture
def disk(installation: Installation) -> Iterator[None]:
    """A volume for the service's claim: the tests' cluster makes none by itself."""
    name, folder = f"{installation.namespace}-data", f"/run/{installation.namespace}-data"
    installation.cluster.run(["install", "-d", "-m", "0770", "-o", "1000", "-g", "1000", folder])
    claim = {"namespace": installation.namespace, "name": "trainjob-data"}
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": folder},
        "claimRef": claim,
    }
    installation.cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    )
    yield
    installation.cluster.kubectl("delete", "pv", name, "--wait=false")


@contextmanager
def forwarded(installation: Installation) -> Iterator[str]:
    """The service's URL on this machine."""
    kubectl = str(installation.cluster.bin / "kubectl")
    words = [f"--kubeconfig={installation.cluster.kubeconfig}", "-n", installation.namespace]
    command = [kubectl, *words, "port-forward", "service/trainjob", ":8890", "--address=127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found, said
        try:
            yield f"http://127.0.0.1:{found[1]}/"
        finally:
            process.terminate()


def test_a_class_sends_jobs_through_the_service(installation: Installation, disk: None, tmp_path: Path) -> None:
    bring_image(installation.cluster, "service")
    installation.set("KubernetesDeploySettings", leave_out=[], service_image=reference("service"))
    tokens = tmp_path / "tokens.yaml"
    command = ("token", "create", "--user", "ben", "--file", str(tokens))
    token = subprocess.run(
        [*installation_cli(), *command], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.strip()

    missing = installation.run("deploy", "--timeout", "1")
    assert missing.status == 1, missing
    assert "FAIL  secret trainjob-tokens: It is missing; it holds the file of tokens" in missing.out
    how = f"kubectl -n {installation.namespace} create secret generic trainjob-store --from-file=credentials=FILE"
    assert how in missing.out

    installation.kubectl("create", "secret", "generic", "trainjob-tokens", f"--from-file=tokens.yaml={tokens}")
    keys = f"--from-file=credentials={tmp_path / 'keys'}"
    installation.kubectl("create", "secret", "generic", "trainjob-store", keys)
    deployed = installation.run("deploy", "--timeout", "120")
    assert deployed.status == 0, deployed.out + deployed.err + installation.kubectl("describe", "pods")
    assert "ok    service: 1 of 1 pods are ready.\n" in deployed.out
    assert "ok    images on nodes: 1 of 1 pods are ready.\n" in deployed.out

    with forwarded(installation) as url:
        with Client(url, token) as client:
            job = client.submit_cell("print(1)").wait(180)
            assert job.succeeded and job.logs() == "1\n", job.status
        folder = tmp_path / "student"
        folder.mkdir()
        student = Served(folder, f"--TrainJobExtension.remote_url={url}", f"--TrainJobExtension.remote_token={token}")
        student.start()
        try:
            with student.client() as client:
                job = client.submit_cell("print('from a notebook')").wait(180)
                assert job.succeeded and job.logs() == "from a notebook\n", job.status
        finally:
            student.stop()


def installation_cli() -> list[str]:
    import sys

    return [sys.executable, "-m", "jupyter_trainjob.cli"]
