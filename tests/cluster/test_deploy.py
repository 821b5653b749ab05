"""``jupyter trainjob deploy`` on a real cluster: what it makes works, and a class sends jobs through it."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_trainjob.client import Client
from tests.api import processes
from tests.images.archives import reference
from tests.store.postgresql import binaries

from .backends import ClusterPlace, bring_image
from .backends import settings as as_configured
from .installations import Installation, installation
from .pki import GATEWAY

__all__ = ["installation"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


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


@pytest.mark.asyncio
async def test_a_server_with_the_account_and_no_more_runs_jobs(installation: Installation) -> None:
    """That it needs each of its rights: ``tests/backends/kubernetes/test_deploy_api.py``."""
    assert installation.run("deploy", "--no-doctor").status == 0
    account = str(installation.as_account())
    settings = as_configured(installation.cluster, installation.namespace, kubeconfig=account)
    place = ClusterPlace(installation.store, name="cluster", settings=settings)
    await place.start()
    try:
        seen = await place.run("print('with these rights')", seconds=120)
        assert seen.state == "ended" and not seen.evidence.get("limit"), seen
        ref = await place.begin("import time\nprint('up', flush=True)\ntime.sleep(300)")
        await place.until(ref, "running", seconds=120)
        await place.backend.cancel(ref, "enough")
        ended = await place.until(ref, "ended", seconds=120)
        assert ended.evidence.get("cancelled") == "enough", ended
    finally:
        await place.clear()


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


def a_token(tokens: Path) -> str:
    """Of the student ben, written into the file ``tokens``."""
    command = ("token", "create", "--user", "ben", "--file", str(tokens))
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_trainjob.cli", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=tokens.parent,
    )
    return done.stdout.strip()


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
    token = a_token(tokens)

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
        with (
            processes.student(tmp_path / "student", url, token) as student,
            Client(student.url, "local-secret") as client,
        ):
            job = client.submit_cell("print('from a notebook')").wait(180)
            assert job.succeeded and job.logs() == "from a notebook\n", job.status


@pytest.mark.soak  # the same of servers that are processes: test_ha.py
def test_two_pods_share_a_record_in_postgresql_and_either_may_be_lost(
    installation: Installation, tmp_path: Path
) -> None:
    """Each is killed once, the one that leads among them, while a job runs: it runs once, and its log is whole."""
    bring_image(installation.cluster, "service")
    tokens, count = tmp_path / "tokens.yaml", 900
    token = a_token(tokens)
    with postgresql_in(installation) as database:
        installation.set(
            "KubernetesDeploySettings",
            leave_out=["images"],
            service_image=reference("service"),
            replicas=2,
            database_secret="trainjob-database",
        )
        assert "FAIL  secret trainjob-database: It is missing" in installation.run("deploy", "--timeout", "1").out
        for name, what in (
            ("trainjob-tokens", f"--from-file=tokens.yaml={tokens}"),
            ("trainjob-store", f"--from-file=credentials={tmp_path / 'keys'}"),
            ("trainjob-database", f"--from-literal=url={database}"),
        ):
            installation.kubectl("create", "secret", "generic", name, what)
        deployed = installation.run("deploy", "--timeout", "180")
        assert deployed.status == 0, deployed.out + deployed.err + installation.kubectl("describe", "pods")
        assert "ok    service: 2 of 2 pods are ready.\n" in deployed.out
        with forwarded(installation) as url, Client(url, token) as client:
            code = f"import time\nfor n in range({count}):\n    print('line', n, flush=True)\n    time.sleep(0.1)"
            job = client.submit_cell(code, time_limit="5m")
            until(lambda: "line 5\n" in job.logs())
        for pod in services(installation):
            installation.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
            until(lambda gone=pod: gone not in (now := services(installation)) and len(now) == 2)
        with forwarded(installation) as url, Client(url, token) as client:
            job = client.job(job.name).wait(240)
            assert job.succeeded and len(job.status["attempts"]) == 1, job.status
            assert job.logs() == "".join(f"line {n}\n" for n in range(count))
            assert client.submit_cell("print('after')").wait(180).succeeded


def services(installation: Installation) -> list[str]:
    """The names of the service's pods that are ready."""
    found = json.loads(installation.kubectl("get", "pods", "-l", "app.kubernetes.io/component=service", "-o", "json"))
    return [
        pod["metadata"]["name"]
        for pod in found["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
    ]


def until(true: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@contextmanager
def postgresql_in(installation: Installation) -> Iterator[str]:
    """The URL by which pods reach a PostgreSQL that runs beside the cluster's own components."""
    cluster, folder, programs = installation.cluster, f"/run/{installation.namespace}-postgresql", binaries()
    word, port = secrets.token_hex(8), 15432
    as_itself = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    cluster.run(["install", "-d", "-m", "0700", "-o", "postgres", "-g", "postgres", folder])
    cluster.run(["sh", "-c", 'umask 077; cat >"$1"; chown postgres "$1"', "-", f"{folder}/word"], stdin=word)
    initdb = [programs / "initdb", "-D", f"{folder}/data", "-U", "trainjob", "-A", "scram-sha-256", "--no-sync"]
    cluster.run([*as_itself, *initdb, f"--pwfile={folder}/word", "--locale=C.UTF-8", "-E", "UTF8"])
    cluster.run(["tee", "-a", f"{folder}/data/pg_hba.conf"], stdin="host all all all scram-sha-256\n")
    options = {"listen_addresses": GATEWAY, "port": str(port), "unix_socket_directories": folder, "fsync": "off"}
    settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    name = f"postgresql-{installation.namespace}"
    cluster.add(name, [*as_itself, str(programs / "postgres"), "-D", f"{folder}/data", *settings])
    try:
        ready = [programs / "pg_isready", "-q", "-h", GATEWAY, "-p", str(port)]
        until(lambda: cluster.run(ready, check=False).returncode == 0, 60)
        yield f"postgresql+psycopg://trainjob:{word}@{GATEWAY}:{port}/postgres"
    finally:
        cluster.kill(name, signal.SIGQUIT)  # it ends its own at once
        cluster.run(["rm", "-rf", folder])
