"""What the benchmarks on the test cluster share: a server there, bare Jobs beside it, and who asked how often.

The API server itself counts who asks it: its audit log has every request of a user, with its time. Nothing stands
between server and cluster that would cost time of its own.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from jupyter_trainjob.storage.s3 import S3Store
from tests.cluster import components, objects, pki
from tests.cluster.backends import BUCKET, bring_image, open_store
from tests.cluster.cluster import Cluster, why_not
from tests.cluster.servers import cluster_backend
from tests.images.archives import reference

from .server import RunningServer, running_server

USER = "trainjob-server"
"""Who the server under test is to the API server, so that its requests can be told from others'."""
FAKE = {"type": "kwok"}
TOLERATED = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
CONFIG = Path(components.__file__).parent / "config" / "kwok.yaml"


@contextlib.contextmanager
def running_cluster(*images: str) -> Iterator[Cluster]:
    """A test cluster with our images. Ends the program where there can be none."""
    if reason := why_not():
        sys.exit(reason)
    cluster = Cluster()
    cluster.start()
    try:
        for image in images:
            bring_image(cluster, image)
        yield cluster
    finally:
        cluster.stop()


@dataclass
class Room:
    """A namespace, a prefix of the store, and how a server is configured for both."""

    cluster: Cluster
    namespace: str
    store: S3Store
    options: list[str]

    @contextlib.contextmanager
    def server(self, backends: dict[str, Any], *more: str) -> Iterator[RunningServer]:
        """A server whose jobs run there."""
        with running_server(*self.options, f"--TrainJobExtension.backends={backends!r}", *more) as server:
            yield server

    def backend(self, *images: str, **more: Any) -> dict[str, Any]:
        """Options of the backend in this room."""
        return cluster_backend(self.cluster, self.namespace, *images, **more)


@contextlib.contextmanager
def a_room(cluster: Cluster) -> Iterator[Room]:
    """A new namespace and prefix."""
    namespace = f"bench-{secrets.token_hex(4)}"
    cluster.apply(objects.namespace(namespace))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(cluster, Path(folder), namespace)
        where = cluster.minio
        options = [
            f"--ObjectStoreSettings.url=s3+{where.url}/{BUCKET}/{namespace}",
            f"--ObjectStoreSettings.credentials_file={folder}/keys",
            f"--ObjectStoreSettings.ca_file={where.ca_file}",
            f"--ObjectStoreSettings.pod_url={where.pod_url}",
        ]
        yield Room(cluster, namespace, store, options)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


class Api:
    """The API server as a bare program uses it: plain HTTP, one connection each, no client library's delays."""

    def __init__(self, cluster: Cluster) -> None:
        keys = cluster.state / "pki"
        self._trust = ssl.create_default_context(cafile=keys / "ca.crt")
        self._trust.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        self._url = cluster.api_url
        self.http = self.client()

    def client(self) -> httpx.Client:
        """One for a thread of its own."""
        return httpx.Client(base_url=self._url, verify=self._trust, timeout=600, trust_env=False)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """An object, or a list."""
        answer = self.http.get(path, params=query)
        answer.raise_for_status()
        return dict(answer.json())

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create it."""
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return dict(answer.json())

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """A merge patch."""
        answer = self.http.patch(path, json=body, headers={"Content-Type": "application/merge-patch+json"})
        answer.raise_for_status()

    def watch(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Its events, from those there are on. Close the iterator to leave."""
        with self.client() as http, http.stream("GET", path, params={"watch": "1", **query}) as answer:
            for line in answer.iter_lines():
                yield json.loads(line)


# Bare Jobs


def notebook_of(code: str) -> dict[str, Any]:
    """A notebook of one cell."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": code,
        "outputs": [],
        "execution_count": None,
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}


def config_map(name: str, code: str) -> dict[str, Any]:
    """The notebook, for bare Jobs to mount."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"one.ipynb": json.dumps(notebook_of(code))},
    }


def bare_job(name: str, notebook: str, pull_policy: str, *, cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    """What one would write by hand: our image, ``jupyter execute``, the same CPU and memory as ours has."""
    spec = objects.pod_spec(["jupyter", "execute", "/notebook/one.ipynb"], reference("python"), pull_policy)
    (container,) = spec["containers"]
    amounts = {"cpu": cpu, "memory": memory}
    container["resources"] = {"requests": amounts, "limits": amounts}
    container["env"] = [{"name": name, "value": "/tmp"} for name in ("HOME", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")]
    container["volumeMounts"] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "notebook", "mountPath": "/notebook", "readOnly": True},
    ]
    spec["volumes"] = [
        {"name": "tmp", "emptyDir": {"medium": "Memory"}},
        {"name": "notebook", "configMap": {"name": notebook}},
    ]
    made = objects.job(name, spec, **more)
    made["metadata"]["labels"] = {"bench": "bare"}
    return made


def is_complete(job: dict[str, Any]) -> bool:
    """Whether it succeeded. ``RuntimeError`` if it failed."""
    found = {one["type"] for one in job.get("status", {}).get("conditions", []) if one["status"] == "True"}
    if "Failed" in found:
        raise RuntimeError(f"a bare Job failed: {job['status']['conditions']}")
    return "Complete" in found


# Fake nodes


def slow_kwok(cluster: Cluster, seconds: tuple[float, float]) -> None:
    """kwok whose pods of Jobs run for a random time between these, instead of none."""
    stages = list(yaml.safe_load_all(CONFIG.read_text()))
    for stage in stages:
        if stage["metadata"]["name"] == "pod-complete":
            low, high = (int(1000 * bound) for bound in seconds)
            stage["spec"]["delay"] = {"durationMilliseconds": low, "jitterDurationMilliseconds": high}
    (cluster.state / "kwok.yaml").write_text(yaml.safe_dump_all(stages))
    command = [part.replace("/run/config/kwok.yaml", "/run/state/kwok.yaml") for part in components.kwok()]
    cluster.add("kwok", command)


# Who asked the API server


@dataclass
class Asked:
    """Requests of one user."""

    requests: list[tuple[float, str, str]] = field(default_factory=list)
    """When, seconds since 1970; verb; resource."""
    open_watches: int = 0

    def between(self, begin: float, end: float) -> list[tuple[float, str, str]]:
        """Those of a span of time."""
        return [one for one in self.requests if begin <= one[0] < end]


class Audit:
    """The API server's own account of what :data:`USER` asks. ``kubeconfig`` is that user's."""

    def __init__(self, cluster: Cluster) -> None:
        self._log = cluster.state / "audit.log"
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
        }
        (cluster.state / "audit.yaml").write_text(yaml.safe_dump(policy))
        told = ["--audit-policy-file=/run/state/audit.yaml", "--audit-log-path=/run/state/audit.log"]
        cluster.kill("kube-apiserver")
        cluster.add("kube-apiserver", [*components.kube_apiserver(), *told])
        cluster.wait_for("kube-apiserver")
        keys = cluster.state / "pki"
        pki.Authority.of(keys, "ca").issue("bench", f"/CN={USER}", "clientAuth")
        self.kubeconfig = cluster.state / "bench.kubeconfig"
        self.kubeconfig.write_text(pki.kubeconfig(keys, cluster.api_url, "bench"))
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": USER},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
            }
        )

    def asked(self) -> Asked:
        """All so far."""
        found, ids, watches = Asked(), set(), set()
        with self._log.open() as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break
                event = json.loads(line)
                identity = event["auditID"]
                if event["verb"] == "watch":
                    (watches.add if event["stage"] == "ResponseStarted" else watches.discard)(identity)
                if identity not in ids:
                    ids.add(identity)
                    when = datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00"))
                    resource = event.get("objectRef", {}).get("resource", event["requestURI"])
                    found.requests.append((when.timestamp(), event["verb"], resource))
        found.open_watches = len(watches)
        return found


def counted(requests: Sequence[tuple[float, str, str]]) -> dict[str, int]:
    """How often each verb on each resource."""
    found: dict[str, int] = {}
    for _, verb, resource in requests:
        found[f"{verb} {resource}"] = found.get(f"{verb} {resource}", 0) + 1
    return dict(sorted(found.items()))


# The server's process


def cpu_seconds(process: psutil.Process) -> float:
    """Of the whole process so far, user and system."""
    spent = process.cpu_times()
    return float(spent.user + spent.system)


class Sampler(threading.Thread):
    """Calls ``look`` again and again in the background, until it is stopped; the largest of what it gave."""

    def __init__(self, look: Callable[[], float], every: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._look, self._every, self._done = look, every, threading.Event()
        self.most = look()
        self.start()

    def run(self) -> None:
        """Until :meth:`stop`."""
        while not self._done.wait(self._every):
            self.most = max(self.most, self._look())

    def stop(self) -> float:
        """The largest."""
        self._done.set()
        self.join()
        return self.most


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer. ``RuntimeError`` if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return found
