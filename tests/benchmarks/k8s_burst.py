"""50 jobs on the cores of one node, at most four running: ours against bare Jobs that somebody unsuspends by hand.

All bare Jobs are created suspended with one ``kubectl create``; whenever one is complete, a watch releases the next. In
turn on the same cluster, with the same image, notebook, CPU and memory.
"""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from .burst import most_at_once
from .cluster import Api, Room, a_room, bare_job, config_map, cpu_seconds, is_complete, running_cluster
from .server import RunningServer
from .submit_latency import CODE

LIMIT = 4
CPU, MEMORY = "350m", "384Mi"
"""Four of them, each with what its pod needs beside it, fit on two cores."""


def ours(server: RunningServer, count: int, before: int = 0) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first call to the last end that a client sees, and the jobs. ``before``: had ended already."""
    with server.http() as http:
        queue = http.get("queues/default").json()
        queue["spec"]["limits"] = {"runningJobs": LIMIT}
        http.put("queues/default", json=queue).raise_for_status()
        namespace = http.get("me").json()["username"]
        start = time.perf_counter()
        for number in range(count):
            _submit(http, namespace, number)
        while True:
            items: list[dict[str, Any]] = http.get("trainjobs", params={"limit": 500}).json()["items"]
            ended = sum(item["status"]["phase"] in ("Succeeded", "Failed", "Cancelled") for item in items)
            if ended == count + before:
                return time.perf_counter() - start, items[:count]  # the newest come first
            if time.perf_counter() - start > 1800:
                raise RuntimeError(f"the jobs did not end: {[item['status']['phase'] for item in items]}")
            time.sleep(0.25)


def _submit(http: httpx.Client, namespace: str, number: int) -> None:
    body = {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": f"burst{number}"},
        "spec": {"source": {"type": "cell", "code": CODE}, "resources": {"cpu": CPU, "memory": MEMORY}},
    }
    http.post(f"namespaces/{namespace}/trainjobs", json=body).raise_for_status()


def bare(api: Api, room: Room, count: int) -> float:
    """Seconds from ``kubectl create`` to the last Complete."""
    path = f"/apis/batch/v1/namespaces/{room.namespace}/jobs"
    names = [f"bare-{number}" for number in range(count)]
    jobs = [bare_job(name, "one", room.cluster.pull_policy, cpu=CPU, memory=MEMORY, suspend=True) for name in names]
    version = api.get(path, limit=1)["metadata"]["resourceVersion"]
    start = time.perf_counter()
    documents = json.dumps({"apiVersion": "v1", "kind": "List", "items": jobs})
    room.cluster.kubectl("-n", room.namespace, "create", "-f", "-", stdin=documents)
    waiting, done = list(names), set[str]()
    for _ in range(LIMIT):
        _release(api, path, waiting)
    for event in api.watch(path, labelSelector="bench=bare", resourceVersion=version):
        job = event["object"]
        name = job["metadata"]["name"]
        if name not in done and is_complete(job):
            done.add(name)
            _release(api, path, waiting)
            if len(done) == count:
                break
    return time.perf_counter() - start


def _release(api: Api, path: str, waiting: list[str]) -> None:
    if waiting:
        api.patch(f"{path}/{waiting.pop(0)}", {"spec": {"suspend": False}})


def run(*, quick: bool = False) -> dict[str, Any]:
    """One after the other; a warm-up job of each first."""
    count = 8 if quick else 50
    with running_cluster("python") as cluster, a_room(cluster) as room, a_room(cluster) as other:
        api = Api(cluster)
        for place in (room, other):
            api.post(f"/api/v1/namespaces/{place.namespace}/configmaps", config_map("one", CODE))
        bare(api, other, 1)
        api.http.delete(f"/apis/batch/v1/namespaces/{other.namespace}/jobs", params={"propagationPolicy": "Background"})
        with room.server({"cluster": room.backend()}) as server:
            ours(server, 1)
            before = cpu_seconds(server.process)
            took, jobs = ours(server, count, 1)
            spent = cpu_seconds(server.process) - before
            by_hand = bare(api, other, count)
    phases = [job["status"]["phase"] for job in jobs]
    figures = {
        "benchmark": "k8s_burst",
        "jobs": count,
        "running_limit": LIMIT,
        "ours_s": round(took, 2),
        "bare_s": round(by_hand, 2),
        "ours_to_bare_ratio": round(took / by_hand, 3),
        "succeeded": phases.count("Succeeded"),
        "most_running_at_once": most_at_once(jobs),
        "server_cpu_s_per_job": round(spent / count, 3),
    }
    reached = (
        figures["ours_to_bare_ratio"] <= 1.2
        and figures["succeeded"] == count
        and figures["most_running_at_once"] <= LIMIT
    )
    return {**figures, "pass": reached}
