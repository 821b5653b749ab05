"""What the tests of volumes and environments put into a cluster: a claim on the node's disk, and an index of wheels."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.kubernetes import objects as built
from jupyter_trainjob.backends.kubernetes.environments_objects import BUILDING, BUILDS

from . import objects
from .cluster import Cluster

PORT = 8000


@contextmanager
def claim(cluster: Cluster, namespace: str, name: str) -> Iterator[Path]:
    """A PersistentVolumeClaim on a folder of the node that everybody may write to; its path there."""
    folder, volume, size = Path(f"/run/volumes/{namespace}-{name}"), f"v-{namespace}-{name}", {"storage": "1Gi"}
    cluster.run(["mkdir", "-p", folder])
    cluster.run(["chmod", "0777", folder])
    bound = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    where = {"name": name, "namespace": namespace}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {**bound, "capacity": size, "hostPath": {"path": str(folder)}, "claimRef": where},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": where,
            "spec": {**bound, "volumeName": volume, "resources": {"requests": size}},
        },
    )
    yield folder
    cluster.kubectl("delete", "pv", volume, "--wait=false")


def serve(cluster: Cluster, namespace: str, packages: Path) -> dict[str, str]:
    """A pod that serves the files of a folder; pip's options for it."""
    paths = [path for path in packages.rglob("*") if path.is_file()]
    files = {path.name: base64.b64encode(path.read_bytes()).decode() for path in paths}
    items = [{"key": path.name, "path": str(path.relative_to(packages))} for path in paths]
    wheels = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "wheels", "namespace": namespace},
        "binaryData": files,
    }
    server = ["/usr/bin/python3", "-m", "http.server", str(PORT), "--directory", "/wheels"]
    spec = objects.pod_spec(server, cluster.python_image, cluster.pull_policy)
    container = spec["containers"][0]
    container["volumeMounts"] = [{"name": "wheels", "mountPath": "/wheels"}]
    container["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}  # or pip comes before it listens
    spec["volumes"] = [{"name": "wheels", "configMap": {"name": "wheels", "items": items}}]
    pod = objects.pod("index", spec)
    pod["metadata"]["namespace"] = namespace
    cluster.apply(wheels, pod)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/index", "--timeout=90s")
    address = cluster.kubectl("-n", namespace, "get", "pod", "index", "-o", "jsonpath={.status.podIP}")
    return {"no-index": "true", "find-links": f"http://{address}:{PORT}/", "trusted-host": address}


def close(cluster: Cluster, namespace: str) -> None:
    """Nothing of ours reaches anything but the store, and those that build the index, too."""
    store = {"to": [{"ipBlock": {"cidr": "10.88.0.1/32"}}], "ports": [{"port": 9000, "protocol": "TCP"}]}
    index = {"to": [{"podSelector": {"matchLabels": {"app": "index"}}}], "ports": [{"port": PORT, "protocol": "TCP"}]}
    for name, labels, egress in (
        ("closed", {built.MANAGED_BY: built.MANAGER}, store),
        ("builders", {BUILDS: BUILDING}, index),
    ):
        spec = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": [egress]}
        metadata = {"name": name, "namespace": namespace}
        cluster.apply(
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        )


def listed(cluster: Cluster, namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
    """Objects by label."""
    told = cluster.kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json")
    found: list[dict[str, Any]] = json.loads(told)["items"]
    return found


def until(what: str, check: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for a state."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.2)
    return found
