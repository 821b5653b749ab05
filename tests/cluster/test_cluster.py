"""The test cluster is what it says: a real node whose limits and policies hold, and whose parts may be killed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio

from . import kueue as kueue_on
from . import objects
from .cluster import CGROUPS, Cluster, ClusterError, remove_runs, runs

pytestmark = pytest.mark.cluster


def kernel_settings() -> dict[str, str]:
    """Those that a kubelet changes for the whole machine, if it is let."""
    names = ("vm/overcommit_memory", "kernel/panic", "kernel/keys/root_maxbytes")
    return {name: Path("/proc/sys", name).read_text() for name in names if Path("/proc/sys", name).exists()}


SETTINGS_BEFORE = kernel_settings()


def get(cluster: Cluster, namespace: str, kind: str, name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.kubectl("-n", namespace, "get", kind, *([name] if name else []), "-o", "json")
    )
    return found


def put(cluster: Cluster, namespace: str, *things: dict[str, Any]) -> None:
    for thing in things:
        thing["metadata"]["namespace"] = namespace
    cluster.apply(*things)


def spec(cluster: Cluster, *command: str) -> dict[str, Any]:
    return objects.pod_spec(command, cluster.python_image, cluster.pull_policy)


def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def queued(name: str, pod_spec: dict[str, Any]) -> dict[str, Any]:
    job = objects.job(name, pod_spec, suspend=True)
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "jobs"}
    return job


def test_a_node_is_ready(cluster: Cluster) -> None:
    nodes = get(cluster, "default", "nodes")["items"]
    ready = [one for node in nodes for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert any(one["status"] == "True" for one in ready)


def test_a_restricted_job_runs_and_completes(cluster: Cluster, namespace: str) -> None:
    script = "id -u; touch /tmp/file 2>&1 || true"
    put(
        cluster,
        namespace,
        objects.job("hello", spec(cluster, "sh", "-c", script)),
    )
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Complete", "job/hello", "--timeout=60s")
    assert cluster.kubectl("-n", namespace, "logs", "job/hello").splitlines() == [
        "1000",
        "touch: /tmp/file: Read-only file system",
    ]


def test_what_is_not_restricted_is_refused(cluster: Cluster, namespace: str) -> None:
    loose = spec(cluster, "true")
    loose["securityContext"] = {}
    with pytest.raises(ClusterError, match=r'violates PodSecurity "restricted.*runAsNonRoot'):
        put(cluster, namespace, objects.pod("loose", loose))


def test_memory_over_the_limit_is_an_oom_kill(cluster: Cluster, namespace: str) -> None:
    put(cluster, namespace, objects.pod("eater", spec(cluster, "python3", "-c", "bytearray(500 << 20)")))
    cluster.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Failed", "pod/eater", "--timeout=60s")
    [container] = get(cluster, namespace, "pod", "eater")["status"]["containerStatuses"]
    assert (container["state"]["terminated"]["reason"], container["state"]["terminated"]["exitCode"]) == (
        "OOMKilled",
        137,
    )


@pytest.mark.slow
def test_network_policies_are_enforced(cluster: Cluster, namespace: str) -> None:
    server = spec(cluster, "python3", "-m", "http.server", "8000", "--directory", "/etc")
    others = [objects.pod(name, spec(cluster, "sleep", "600")) for name in ("friend", "stranger")]
    put(cluster, namespace, objects.pod("server", server), *others)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    address = get(cluster, namespace, "pod", "server")["status"]["podIP"]

    def reaches(name: str) -> bool:
        call = f"import urllib.request as r; r.urlopen('http://{address}:8000/', timeout=2)"
        try:
            cluster.kubectl("-n", namespace, "exec", name, "--", "python3", "-c", call)
        except ClusterError as error:
            assert "timed out" in str(error) or "refused" in str(error)
            return False
        return True

    eventually(lambda: reaches("friend"))
    assert reaches("stranger")
    put(cluster, namespace, objects.policy("closed", "server"))
    eventually(lambda: not reaches("stranger"))
    assert not reaches("friend")
    put(cluster, namespace, objects.policy("open", "server", "friend"))
    eventually(lambda: reaches("friend"))
    assert not reaches("stranger")


def test_the_object_store_is_there_for_tests_and_for_pods(cluster: Cluster, namespace: str) -> None:
    """What a test puts through the relay, a pod fetches by a URL that is signed for its own view, with TLS checked."""
    store = cluster.minio
    fetch = """
import os, ssl, urllib.request
trust = ssl.create_default_context(cadata=os.environ["CA"] or None)
print(urllib.request.urlopen(os.environ["URL"], context=trust, timeout=10).read().decode())
"""
    with urllib3.PoolManager(ca_certs=store.ca_file or None) as pool:

        def client(url: str) -> Minio:
            scheme, _, endpoint = url.partition("://")
            keys = {"access_key": store.access_key, "secret_key": store.secret_key, "region": "us-east-1"}
            return Minio(endpoint, **keys, secure=scheme == "https", http_client=pool)

        client(store.url).make_bucket(namespace)
        client(store.url).put_object(namespace, "greeting", io.BytesIO(b"from outside"), 12)
        reader = spec(cluster, "python3", "-c", fetch)
        reader["containers"][0]["env"] = [
            {"name": "URL", "value": client(store.pod_url).presigned_get_object(namespace, "greeting")},
            {"name": "CA", "value": Path(store.ca_file).read_text() if store.ca_file else ""},
        ]
        put(cluster, namespace, objects.job("reader", reader))
        cluster.kubectl("-n", namespace, "wait", "--for=condition=Complete", "job/reader", "--timeout=60s")
        assert cluster.kubectl("-n", namespace, "logs", "job/reader") == "from outside\n"
        client(store.url).remove_object(namespace, "greeting")
        client(store.url).remove_bucket(namespace)


@pytest.mark.slow
def test_fake_nodes_run_many_jobs(cluster: Cluster, namespace: str) -> None:
    fake = spec(cluster, "true") | {
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    }
    with cluster.fake_nodes(2):
        put(cluster, namespace, *(objects.job(f"job-{number}", fake) for number in range(20)))
        # Seconds, but for controllers that back off since another test killed the API server: so it is before those.
        cluster.kubectl("-n", namespace, "wait", "--for=condition=Complete", "job", "--all", "--timeout=200s")


@pytest.mark.slow
def test_a_pod_survives_the_api_server_and_kubelet(cluster: Cluster, namespace: str) -> None:
    put(cluster, namespace, objects.pod("survivor", spec(cluster, "sleep", "600")))
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/survivor", "--timeout=60s")
    before = get(cluster, namespace, "pod", "survivor")["status"]["containerStatuses"]
    cluster.kill("kube-apiserver")
    with pytest.raises(ClusterError):
        get(cluster, namespace, "pod", "survivor")
    for component in ("kubelet", "containerd"):
        cluster.kill(component)
    for component in ("kube-apiserver", "containerd", "kubelet"):
        cluster.revive(component)
    assert get(cluster, namespace, "pod", "survivor")["status"]["containerStatuses"] == before

    def answers() -> bool:
        try:
            return cluster.kubectl("-n", namespace, "exec", "survivor", "--", "echo", "here") == "here\n"
        except ClusterError:  # kubelet looks for the pods that it had first
            return False

    eventually(answers)


def test_a_component_that_hangs_and_one_that_is_not_there(cluster: Cluster) -> None:
    cluster.send("kube-scheduler", signal.SIGSTOP)
    assert cluster.status()["kube-scheduler"] is None
    cluster.send("kube-scheduler", signal.SIGCONT)
    with pytest.raises(ClusterError, match=r"no process etcs; there are etcd, kube-apiserver"):
        cluster.kill("etcs")


@pytest.mark.slow
@pytest.mark.soak  # all that stands on it is in test_kueue.py, with our jobs
def test_kueue_admits_suspended_jobs_as_its_quota_allows(cluster: Cluster, namespace: str, kueue: None) -> None:
    cluster.apply(*kueue_on.queue(namespace, cpu="50m", memory="64Mi"))
    for name in ("first", "second"):  # each asks for 20m and 32Mi; a third waits
        put(cluster, namespace, queued(name, spec(cluster, "sleep", "600")))
    eventually(lambda: not get(cluster, namespace, "job", "second")["spec"]["suspend"])
    put(cluster, namespace, queued("third", spec(cluster, "true")))
    seen = f"/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/{namespace}/localqueues/jobs/pendingworkloads"

    def pending() -> list[int]:
        items = json.loads(cluster.kubectl("get", "--raw", seen))["items"]
        return [one["positionInLocalQueue"] for one in items]

    eventually(lambda: pending() == [0])
    assert get(cluster, namespace, "job", "third")["spec"]["suspend"]
    cluster.kubectl("-n", namespace, "delete", "job", "first")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Complete", "job/third", "--timeout=60s")


def test_nothing_of_the_machine_is_changed(cluster: Cluster) -> None:
    namespaces = {Path(f"/proc/self/ns/{kind}").readlink() for kind in ("mnt", "net", "pid")}
    inside = cluster.run(["readlink", *(f"/proc/self/ns/{kind}" for kind in ("mnt", "net", "pid"))]).stdout.split()
    assert not namespaces & {Path(link) for link in inside}
    assert not Path("/sys/class/net/cni0").exists()
    assert "trainjob-cluster" in cluster.run(["cat", "/proc/self/mounts"]).stdout
    assert "trainjob-cluster" not in Path("/proc/self/mounts").read_text()
    assert cluster.run(["cat", "/proc/sys/kernel/panic"]).stdout == "10\n", "what kubelet wants is seen inside"
    assert kernel_settings() == SETTINGS_BEFORE, "and not here"


@pytest.mark.slow
def test_a_cluster_whose_owner_is_killed_ends_and_leaves_nothing_that_runs(cluster: Cluster, tmp_path: Path) -> None:
    """A second one, beside the first."""
    assert cluster.state.parent == cluster.bin.parent, "this is about the tests' own cluster"
    command = [sys.executable, "-u", "-m", "tests.cluster"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline().startswith("Ready after")
        told = {state: json.loads((state / "run.json").read_text()) for state in runs(cluster.bin.parent)[0]}
        [second] = [state for state, run in told.items() if run["by"] == owner.pid]
        owner.kill()
    eventually(lambda: not Path("/proc", str(told[second]["pid"])).exists(), 10)
    remove_runs(cluster.bin.parent)
    assert not second.exists() and not list(CGROUPS.glob(f"*/trainjob-{second.name}"))
    assert cluster.status()["kubelet"] is None, "the first one is as it was"
