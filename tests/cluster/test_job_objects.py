"""The pods that the backend builds, on a real cluster: admitted as ``restricted``, with volumes as they are meant."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes import objects
from jupyter_trainjob.backends.kubernetes.evidence import Sight, look
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, Sidecar
from jupyter_trainjob.resources.trainjob import Environment, Volume
from tests.backends.kubernetes.attempts import request
from tests.backends.kubernetes.record import PLACES, SIDE_PLACES, WAIT

from .cluster import Cluster

pytestmark = pytest.mark.cluster
RESOURCES = {"cpu": "100m", "memory": "128Mi", "disk": "64Mi", "shm": "16Mi"}
FULL = """
import sys
with open("/work/a", "wb", buffering=0) as file, open("/tmp/b", "wb", buffering=0) as other:
    try:
        while file.write(bytes(1 << 20)) and other.write(bytes(1 << 20)): pass
    except OSError as error:
        size = file.tell() + other.tell() >> 20
        sys.exit(0 if error.errno == 28 and 62 <= size <= 64 else f"{error} at {size} MiB")
"""
SEES = """
import os, sys
assert open("/mnt/data/x").read() == "a set" and sorted(os.listdir("/mnt/data")) == ["x"]
try: open("/mnt/data/y", "w")
except OSError: pass
else: sys.exit("a volume that may only be read was written to")
assert os.listdir("/mnt/home") == ["old"]
open("/mnt/home/new", "w").write("mine")
"""
Run = Callable[..., Sight]


@pytest.fixture
def settings(cluster: Cluster, namespace: str) -> KubernetesSettings:
    return KubernetesSettings(
        namespace=namespace,
        images={"python": cluster.python_image},
        pull_policy=cluster.pull_policy,  # type: ignore[arg-type]
        dns_policy="Default",
        sidecar=Sidecar(cpu="20m", memory="64Mi"),
        termination_seconds=45,
    )


def run(cluster: Cluster, settings: KubernetesSettings, main: str, side: str = WAIT, **spec: Any) -> Sight:
    """Run one Job to its end with these programs in its containers."""
    asked = request(**{"resources": RESOURCES, **spec})
    job = objects.job(asked, settings)
    pod = job["spec"]["template"]["spec"]
    pod["containers"][0]["command"] = ["/usr/bin/python3", "-c", main]
    pod["initContainers"][0]["command"] = ["/usr/bin/python3", "-c", side]
    cluster.apply(objects.secret(asked.ref, settings, {}, {"orders.json": b"{}"}), job)
    deadline = time.monotonic() + 120
    while True:
        time.sleep(0.3)
        found = [_get(cluster, settings.namespace, "pods", f"job-name={asked.ref.name}")]
        sight = look(_get(cluster, settings.namespace, "jobs", f"{objects.UID}={asked.ref.uid}"), found[0])
        if sight.state == "ended" and sight.sidecar_over:
            assert sight.evidence["exitCode"] == 0, cluster.kubectl(
                "-n", settings.namespace, "logs", f"job/{asked.ref.name}", "--all-containers"
            )
            return sight
        assert time.monotonic() < deadline, found


def _get(cluster: Cluster, namespace: str, kind: str, selector: str) -> Any:
    found = json.loads(cluster.kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json"))["items"]
    return found[0] if found else None


@pytest.mark.parametrize("scratch", ["memory", "disk"])
def test_each_container_writes_where_it_may_and_nowhere_else(
    cluster: Cluster, settings: KubernetesSettings, scratch: Any
) -> None:
    main = PLACES if scratch == "memory" else PLACES.replace(" and os.statvfs", " or os.statvfs")
    sight = run(cluster, replace(settings, scratch=scratch), main, SIDE_PLACES)
    assert sight.termination == "all is well"


def test_a_full_folder_is_told_at_once_and_holds_what_the_job_asked_for(
    cluster: Cluster, settings: KubernetesSettings
) -> None:
    run(cluster, settings, FULL)


def test_a_volume_is_seen_by_its_folder_and_no_more(cluster: Cluster, settings: KubernetesSettings) -> None:
    folder = f"/run/volumes/{settings.namespace}"
    for path, text in (("sets/x", "a set"), ("homes/ada/old", "mine"), ("homes/bob/secret", "his"), ("top", "not")):
        place = f"{folder}/{path}"
        cluster.run(["mkdir", "-p", place.rpartition("/")[0]])
        cluster.run(["tee", place], stdin=text)
    cluster.run(["chmod", "-R", "a+rwX", folder])
    name, size, modes = f"v-{settings.namespace}", {"storage": "1Gi"}, ["ReadWriteMany"]
    bound = {"storageClassName": "", "accessModes": modes}
    claim = {"name": "course", "namespace": settings.namespace}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**bound, "capacity": size, "hostPath": {"path": folder}, "claimRef": claim},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": {**bound, "volumeName": name, "resources": {"requests": size}},
        },
    )
    allowed = [
        {"name": "data", "claim": "course", "subPath": "sets"},
        {"name": "home", "claim": "course", "subPath": "homes/{owner}", "writable": True},
    ]
    wanted = [Volume(name="data", mount_path="/mnt/data"), Volume(name="home", mount_path="/mnt/home", read_only=False)]
    run(cluster, settings, SEES, profile={"volumes": allowed}, volumes=wanted)
    assert cluster.run(["cat", f"{folder}/homes/ada/new"]).stdout == "mine"
    cluster.kubectl("delete", "pv", name, "--wait=false")


def test_an_image_without_our_runner_gets_it_at_the_place_where_ours_have_it(
    cluster: Cluster, settings: KubernetesSettings
) -> None:
    lab = "localhost/trainjob-tests/lab:1"
    cluster.run([*cluster._ctr, "images", "tag", "--force", cluster.python_image, lab])
    home = "/usr/share/python3"  # stands for what our images have in /opt/trainjob
    mixed = replace(settings, home=home, package=f"{home}/x", allowed_images=("localhost/trainjob-tests/",))
    sees = f"""
import os
assert os.path.ismount({home!r}) and os.listdir({home!r}), os.listdir({home!r})
assert not os.access({home!r}, os.W_OK)
"""
    run(cluster, mixed, sees, environment=Environment(image=lab))


def test_gpus_are_given_by_the_name_that_nodes_call_them(cluster: Cluster, settings: KubernetesSettings) -> None:
    patch = [{"op": "add", "path": "/status/capacity/example.com~1gpu", "value": "1"}]
    cluster.kubectl("patch", "node", "node1", "--subresource=status", "--type=json", "-p", json.dumps(patch))
    placement = {"placement": {"gpuResource": "example.com/gpu"}}
    deadline = time.monotonic() + 30
    while "example.com/gpu" not in cluster.kubectl("get", "node", "node1", "-o", "jsonpath={.status.allocatable}"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run(cluster, settings, "pass", profile=placement, resources={**RESOURCES, "gpu": 1})
