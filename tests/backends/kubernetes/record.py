"""Makes the cases of ``recorded/`` on the test cluster: real Jobs, built by ``objects.job``, that end in real ways.

``python -m tests.backends.kubernetes.record [NAME…]`` writes ``recorded/NAME.json``: the Job, the last that was seen of
its pod, and the events of both. Only the containers' commands are other ones, in an image with nothing but Python.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from jupyter_trainjob.backends.kubernetes import objects
from jupyter_trainjob.backends.kubernetes.reading import container, meta, part, status
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, Sidecar
from tests.cluster.cluster import Cluster
from tests.cluster.objects import namespace

from .attempts import request

FOLDER = Path(__file__).with_name("recorded")
Object = dict[str, Any]

WAIT = "import signal,sys; signal.signal(15, lambda *a: sys.exit(0)); signal.pause()"
"""A container that ends well when it is told to."""
SLEEP = "import time; time.sleep(600)"
"""One that does not listen: as the first process of its namespace it is not even interrupted."""
FILL = "x = bytearray(0)\nwhile True: x += bytes(1 << 20)"
PLACES = """
import os, sys
for place in ("/work/a", "/tmp/a", "/dev/shm/a", "/trainjob/out/a"):
    open(place, "w").write("x" * 100)
for place in ("/trainjob/in/a", "/usr/a", "/a"):
    try: open(place, "w")
    except OSError: continue
    sys.exit(place + " can be written")
assert not os.path.exists("/var/run/trainjob") and not os.path.exists("/var/run/secrets"), "credentials"
assert os.listdir("/work") == ["a"] and os.statvfs("/work").f_blocks * os.statvfs("/work").f_frsize == 64 << 20
assert os.getuid() == 1000 and os.environ["HOME"] == "/tmp/home"
"""
SIDE_PLACES = """
import os, time
open("/trainjob/in/a", "w").write("x"); open("/trainjob/buffer/a", "w").write("x")
assert open("/var/run/trainjob/orders.json").read() == "{}"
for place in ("/work/b", "/trainjob/out/b", "/var/run/trainjob/b"):
    try: open(place, "w")
    except OSError: continue
    raise SystemExit(place + " can be written")
while not os.path.exists("/work/a"): time.sleep(0.05)
open("/dev/termination-log", "w").write("all is well")
""" + WAIT.replace("; ", "\n").replace("import signal,sys", "import signal, sys")


class Case:
    """One Job in a namespace of its own; what is seen of it is followed by watches."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, f"record-{name}"
        self.settings = KubernetesSettings(
            namespace=self.name,
            images={"python": cluster.python_image},
            allowed_images=("registry.invalid/",),
            pull_policy="Never",
            dns_policy="Default",
            sidecar=Sidecar(cpu="20m", cpu_limit="500m", memory="64Mi"),
            reserve="32Mi",
            termination_seconds=45,
        )
        self.spec: dict[str, Any] = {"resources": {"cpu": "100m", "memory": "128Mi", "disk": "64Mi", "shm": "16Mi"}}
        self.main, self.side = SLEEP, WAIT
        self.job: Object | None = None
        self.pods: list[Object] = []
        self.secret = True
        self._stop = False
        cluster.apply(namespace(self.name))

    def start(self, change: Callable[[Object], None] = lambda job: None) -> None:
        asked = request(**self.spec)
        job = objects.job(asked, self.settings)
        pod = job["spec"]["template"]["spec"]
        pod["containers"][0]["command"] = ["/usr/bin/python3", "-c", self.main]
        pod["initContainers"][0]["command"] = ["/usr/bin/python3", "-c", self.side]
        change(job)
        found = [job]
        if self.secret:
            found.insert(0, objects.secret(asked.ref, self.settings, {}, {"orders.json": b"{}"}))
        for kind, path in (("pods", "/api/v1"), ("jobs", "/apis/batch/v1")):
            threading.Thread(target=self._follow, args=(kind, path), daemon=True).start()
        for item in found:
            path = "/api/v1" if item["kind"] == "Secret" else "/apis/batch/v1"
            kind = "secrets" if item["kind"] == "Secret" else "jobs"
            self.ask("POST", f"{path}/namespaces/{self.name}/{kind}", json=item).raise_for_status()
        self.job_name = asked.ref.name

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.cluster._api.request(method, path, **more)

    def patch(self, patch: Object) -> None:
        path = f"/apis/batch/v1/namespaces/{self.name}/jobs/{self.job_name}"
        headers = {"Content-Type": "application/merge-patch+json"}
        self.ask("PATCH", path, content=json.dumps(patch), headers=headers).raise_for_status()

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("-n", self.name, *arguments)

    def _follow(self, kind: str, path: str) -> None:
        version = ""
        while not self._stop:
            query = f"?watch=1&timeoutSeconds=300&resourceVersion={version}" if version else "?watch=1"
            try:
                with self.cluster._api.stream(
                    "GET", f"{path}/namespaces/{self.name}/{kind}{query}", timeout=None
                ) as told:
                    for line in told.iter_lines():
                        version = self._take(kind, json.loads(line)) or version
            except httpx.TransportError:
                continue  # cut; the next one goes on where this one was

    def _take(self, kind: str, event: Object) -> str:
        found: Object = event["object"]
        if event["type"] == "DELETED":
            found["deleted"] = True
        if kind == "jobs":
            self.job = found
        elif found["kind"] == "Pod":
            self.pods.append(found)
        return str(meta(found).get("resourceVersion", ""))

    @property
    def pod(self) -> Object:
        return self.pods[-1] if self.pods else {}

    def until(self, what: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: not within {seconds} s; pod {json.dumps(status(self.pod))[:3000]}")
            time.sleep(0.05)

    def runs(self) -> bool:
        return bool(part(container(self.pod, "main"), "running"))

    def waits(self, *reasons: str) -> bool:
        return any(part(container(self.pod, name), "waiting").get("reason") in reasons for name in ("main", "sidecar"))

    def finished(self) -> bool:
        found = status(self.job).get("conditions") or []
        return any(item["type"] in ("Complete", "Failed") and item["status"] == "True" for item in found)

    def told(self, reason: str) -> bool:
        return any(item.get("reason") == reason for item in self.events())

    def events(self) -> list[Object]:
        found = self.ask("GET", f"/api/v1/namespaces/{self.name}/events").json()["items"]
        keys = ("reason", "message", "type", "lastTimestamp", "eventTime", "count", "involvedObject")
        return [{key: item[key] for key in keys if key in item} for item in found if item.get("type") == "Warning"]

    def keep(self, name: str) -> None:
        """Write down what is seen now."""
        found = {"job": _slim(self.job), "pod": _slim(self.pod) if self.pod else None, "events": self.events()}
        (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print("recorded", name, flush=True)

    def end(self) -> None:
        self._stop = True
        self.ask("DELETE", f"/api/v1/namespaces/{self.name}")


def _slim(found: Object | None) -> Object:
    """As the backend's watches keep objects."""
    dropped = ("managedFields", "ownerReferences", "generateName", "finalizers", "selfLink")
    spec = ("nodeName", "suspend", "activeDeadlineSeconds", "terminationGracePeriodSeconds")
    slim = {
        "metadata": {key: value for key, value in meta(found).items() if key not in dropped},
        "spec": {key: value for key, value in (found or {}).get("spec", {}).items() if key in spec},
        "status": status(found),
    }
    return slim | ({"deleted": True} if (found or {}).get("deleted") else {})


def completed(case: Case) -> None:
    case.main, case.side = PLACES, SIDE_PLACES
    case.start()
    case.until(case.finished)
    case.keep("completed")


def failed(case: Case) -> None:
    case.main = "raise SystemExit(3)"
    case.start()
    case.until(case.finished)
    case.keep("failed")


def out_of_memory(case: Case) -> None:
    case.main = FILL
    case.start()
    case.until(case.finished)
    case.keep("out-of-memory")


def child_out_of_memory(case: Case) -> None:
    case.main = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {FILL!r}]).returncode)"
    case.start()
    case.until(case.finished)
    case.keep("child-out-of-memory")


def image_never_pulled(case: Case) -> None:
    case.start(lambda job: job["spec"]["template"]["spec"]["containers"][0].update(image="registry.invalid/lab:1"))
    case.until(lambda: case.waits("ErrImageNeverPull"))
    case.keep("image-never-pulled")


def image_not_pulled(case: Case) -> None:
    def change(job: Object) -> None:
        main = job["spec"]["template"]["spec"]["containers"][0]
        main.update(image="registry.invalid/lab:1", imagePullPolicy="Always")

    case.start(change)
    case.until(lambda: case.waits("ImagePullBackOff"))
    case.keep("image-not-pulled")


def image_without_a_name(case: Case) -> None:
    case.start(lambda job: job["spec"]["template"]["spec"]["containers"][0].update(image="Not/An:Image!"))
    case.until(lambda: case.waits("InvalidImageName"))
    case.keep("image-without-a-name")


def cannot_start(case: Case) -> None:
    case.start(lambda job: job["spec"]["template"]["spec"]["containers"][0].update(command=["/no/such/python"]))
    case.until(case.finished)
    case.keep("cannot-start")


def deadline(case: Case) -> None:
    case.start(lambda job: job["spec"].update(activeDeadlineSeconds=6))
    case.until(case.runs)
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("deadline")


def evicted(case: Case) -> None:
    case.settings = replace(case.settings, scratch="disk")
    case.main = "open('/work/a', 'wb').write(bytes(100 << 20)); " + SLEEP
    case.start()
    case.until(case.finished)
    case.keep("evicted-disk")


def drained(case: Case) -> None:
    case.start()
    case.until(case.runs)
    name = meta(case.pod)["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": case.name}}
    case.ask("POST", f"/api/v1/namespaces/{case.name}/pods/{name}/eviction", json=body).raise_for_status()
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("drained")


def unschedulable(case: Case) -> None:
    case.spec["resources"]["cpu"] = "64"
    case.start()
    case.until(lambda: status(case.pod).get("conditions"))
    case.keep("unschedulable")
    case.patch(objects.give_up_patch({"limit": "Unschedulable", "message": "No node has room."}))
    case.until(lambda: case.pod.get("deleted"))
    case.until(lambda: (case.job or {})["spec"].get("suspend"))
    case.keep("given-up")


def deleted(case: Case) -> None:
    case.side = WAIT
    case.main = "import signal, sys\nsignal.signal(15, lambda *a: sys.exit(0))\nsignal.pause()"
    case.start()
    case.until(case.runs)
    time.sleep(1)
    case.kubectl("delete", "pod", meta(case.pod)["name"], "--wait=false")
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("deleted-pod")


def deleted_by_force(case: Case) -> None:
    case.start()
    case.until(case.runs)
    case.kubectl("delete", "pod", meta(case.pod)["name"], "--wait=false", "--force", "--grace-period=0")
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("deleted-by-force")


def deleted_job(case: Case) -> None:
    case.start()
    case.until(case.runs)
    case.kubectl("delete", "job", case.job_name, "--cascade=foreground", "--wait=false")
    case.until(lambda: part(container(case.pod, "main"), "terminated"))
    case.keep("deleted-job")


def cancelled(case: Case) -> None:
    case.start()
    case.until(case.runs)
    case.patch(objects.cancel_patch("enough"))
    case.kubectl("delete", "pod", meta(case.pod)["name"], "--wait=false", "--grace-period=3")
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("cancelled")


def cancelled_before_it_ran(case: Case) -> None:
    case.spec["resources"]["cpu"] = "64"
    case.start()
    case.until(lambda: status(case.pod).get("conditions"))
    case.patch({**objects.cancel_patch("enough"), "spec": {"suspend": True}})
    case.until(lambda: case.pod.get("deleted"))
    case.keep("cancelled-before-it-ran")


def quota(case: Case) -> None:
    hard = {"pods": "0"}
    case.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "class", "namespace": case.name},
            "spec": {"hard": hard},
        }
    )
    time.sleep(2)
    case.start()
    case.until(lambda: case.told("FailedCreate"))
    case.keep("quota")


def too_large(case: Case) -> None:
    limits = [{"type": "Container", "max": {"memory": "100Mi"}}]
    case.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "class", "namespace": case.name},
            "spec": {"limits": limits},
        }
    )
    time.sleep(2)
    case.start()
    case.until(lambda: case.told("FailedCreate"))
    case.keep("too-large")


def refused(case: Case) -> None:
    case.start(lambda job: job["spec"]["template"]["spec"].update(hostPID=True))
    case.until(lambda: case.told("FailedCreate"))
    case.keep("refused")


def no_secret(case: Case) -> None:
    case.secret = False
    case.start()
    case.until(lambda: case.told("FailedMount"))
    case.keep("no-secret")


def sidecar_refuses(case: Case) -> None:
    case.side = "raise SystemExit(2)"
    case.start()
    case.until(lambda: container(case.pod, "sidecar").get("restartCount", 0) >= 1 and case.waits("CrashLoopBackOff"))
    case.keep("sidecar-refuses")


def preempted(case: Case) -> None:
    case.spec["resources"]["cpu"] = "1200m"
    name = f"{case.name}-high"
    case.cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    )
    case.start()
    case.until(case.runs)
    case.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "other", "namespace": "default"},
            "spec": {
                "priorityClassName": name,
                "containers": [
                    {
                        "name": "main",
                        "image": case.cluster.python_image,
                        "imagePullPolicy": "Never",
                        "command": ["sleep", "1"],
                        "resources": {"requests": {"cpu": "1200m"}},
                    }
                ],
            },
        }
    )
    case.until(case.finished)
    case.until(lambda: case.pod.get("deleted"))
    case.keep("preempted")
    case.cluster.kubectl("delete", "pod", "other", "--wait=false")


def tainted(case: Case) -> None:
    case.start()
    case.until(case.runs)
    case.cluster.kubectl("taint", "nodes", "node1", "record=now:NoExecute")
    try:
        case.until(case.finished)
        case.until(lambda: case.pod.get("deleted"))
    finally:
        case.cluster.kubectl("taint", "nodes", "node1", "record=now:NoExecute-")
    case.keep("tainted")


def node_silent(case: Case) -> None:
    case.start()
    case.until(case.runs)
    case.cluster.kill("kubelet")

    def ready() -> str:
        found = {item["type"]: item["status"] for item in status(case.pod).get("conditions") or []}
        return found.get("Ready", "")

    try:
        case.until(lambda: ready() == "False", 180)
        case.keep("node-silent")
    finally:
        case.cluster.revive("kubelet")
    case.until(lambda: ready() == "True")
    time.sleep(1)
    case.keep("node-back")


TOGETHER = [
    *(completed, failed, out_of_memory, child_out_of_memory, image_never_pulled, image_not_pulled),
    *(image_without_a_name, cannot_start, deadline, evicted, drained, unschedulable, deleted, deleted_by_force),
    *(deleted_job, cancelled, cancelled_before_it_ran, quota, too_large, refused, no_secret, sidecar_refuses),
]
ALONE = [preempted, tainted, node_silent]


def main(names: list[str]) -> int:
    """Record all, or those named by their functions; the number of those that failed."""
    cluster, failures = Cluster(), 0
    cluster.start()
    try:

        def one(what: Callable[[Case], None]) -> int:
            if names and what.__name__ not in names:
                return 0
            case = Case(cluster, what.__name__.replace("_", "-"))
            try:
                what(case)
            except (TimeoutError, httpx.HTTPError) as error:
                print(what.__name__, "failed:", error, file=sys.stderr, flush=True)
                return 1
            finally:
                case.end()
            return 0

        with ThreadPoolExecutor(6) as pool:
            failures = sum(pool.map(one, TOGETHER))
        return failures + sum(map(one, ALONE))
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
