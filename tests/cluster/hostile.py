"""What hostile code is aimed at, inside the cluster's namespaces. Every address is the tests' own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_trainjob.backends.kubernetes.deploy import bounds, plan
from jupyter_trainjob.backends.kubernetes.deploy.settings import DeploySettings
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings

from .cluster import Cluster, ClusterError
from .pki import GATEWAY

METADATA, INTERNET = "169.254.169.254", "203.0.113.7"
"""Where clouds tell a machine's secrets, and an address of the range for documentation: here, aliases of the bridge."""
SERVICE = "10.96.0.1"
VICTIMS_PORT = 8000
VICTIM = f"""
# secret-of-the-victim
import socket, time
open("file", "w").write("secret-of-the-victim")
server = socket.create_server(("0.0.0.0", {VICTIMS_PORT}))
print("listening", flush=True)
time.sleep(800)
"""

_SERVERS = """
import socket, sys, threading
def answer(server):
    while True:
        there, _ = server.accept()
        there.sendall(b"here")
        there.close()
def echo(server):
    while True:
        data, who = server.recvfrom(512)
        server.sendto(data, who)
for address in sys.argv[1:]:
    host, port = address.split(":")
    threading.Thread(target=answer, args=[socket.create_server((host, int(port)))]).start()
    if port == "53":
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((host, 53))
        threading.Thread(target=echo, args=[server]).start()
"""


@contextmanager
def servers(cluster: Cluster) -> Iterator[None]:
    """Servers at the metadata address, somewhere in the internet, and a resolver on the node."""
    for address in (METADATA, INTERNET):
        cluster.run(["ip", "address", "replace", f"{address}/32", "dev", "cni0"])
    places = [f"{METADATA}:80", f"{INTERNET}:80", f"{GATEWAY}:53"]
    cluster.add("targets", [sys.executable, "-I", "-c", _SERVERS, *places])
    try:
        until = time.monotonic() + 60
        probe = f"import socket; [socket.create_connection(p.split(':'), 2) for p in {places!r}]"
        while cluster.run([sys.executable, "-I", "-c", probe], check=False).returncode:
            assert time.monotonic() < until, cluster.log("targets")
            time.sleep(0.1)
        yield
    finally:
        cluster.kill("targets")
        for address in (METADATA, INTERNET):
            cluster.run(["ip", "address", "del", f"{address}/32", "dev", "cni0"])


def policies(cluster: Cluster, settings: KubernetesSettings) -> list[dict[str, Any]]:
    """Those that ``jupyter trainjob deploy`` makes: nothing in, nothing out, but jobs' pods to the object store."""
    found = [
        bounds.deny_all(settings),
        bounds.to_store(settings, DeploySettings(service_image="none"), bounds.StorePlace.of(cluster.minio.pod_url)),
    ]
    return [plan.wire(policy) for policy in found]


def pod_address(cluster: Cluster, namespace: str, name: str) -> str:
    """Of a Job's pod."""
    found = json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-l", f"job-name={name}", "-o", "json"))
    return str(found["items"][0]["status"]["podIP"])


def in_sidecar(cluster: Cluster, namespace: str, name: str, *command: str) -> str:
    """What a command prints in the sidecar of a Job's pod; as somebody who may look in from outside."""
    pod = json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-l", f"job-name={name}", "-o", "json"))
    until = time.monotonic() + 30
    while True:
        try:
            return cluster.kubectl(
                "-n", namespace, "exec", pod["items"][0]["metadata"]["name"], "-c", "sidecar", "--", *command
            )
        except ClusterError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
