"""2,000 short jobs on fake nodes through us and through Kueue, on one API server, with the same quota, in turn.

End to end: from the first submit to the last job that has ended, as a client sees it. Ours are recorded, signed for,
followed in the store, harvested and cleaned up; Kueue's are bare Jobs that it admits and that stay. CPU is that of both
whole processes. Neither is bound by a limit of its client: ours has none, Kueue's is raised from 50 to 500 a second.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import yaml

from tests.cluster import kueue, objects
from tests.cluster.cluster import Cluster

from .cluster import FAKE, TOLERATED, Api, Room, a_room, cpu_seconds, is_complete, running_cluster, slow_kwok, until
from .k8s_scale import CPU, MEMORY, NODES, Sidecars, all_jobs, leave, phases, submit_all

AT_ONCE = 500
QUOTA_CPU = str(AT_ONCE // 10)
"""Of 100m each."""
CLIENT = {"qps": 500, "burst": 1000}


def through_us(api: Api, room: Room, count: int) -> tuple[float, float, int]:
    """Seconds; CPU seconds; how many succeeded."""
    Sidecars(api, room)
    backend = room.backend(node_selector=FAKE, tolerations=TOLERATED)
    with room.server({"cluster": backend}) as server:
        with server.http() as http:
            queue = http.get("queues/default").json()
            queue["spec"].update(limits={"cpu": QUOTA_CPU}, queuedPerUser=None)
            http.put("queues/default", json=queue).raise_for_status()
        submit_all(server, 5, lambda uid: leave(room, uid))
        until(lambda: phases(server) == {"running": 0, "queued": 0}, 120, "the first jobs")
        spent, start = cpu_seconds(server.process), time.perf_counter()
        # What the sidecars of fake pods don't leave is put beside the submits, by the same threads.
        _, uids = submit_all(server, count, lambda uid: leave(room, uid))
        until(lambda: phases(server) == {"running": 0, "queued": 0}, 3000, "the last job")
        took, spent = time.perf_counter() - start, cpu_seconds(server.process) - spent
        ended = [job for job in all_jobs(server) if job["metadata"]["uid"] in set(uids)]
    return took, spent, sum(job["status"]["phase"] == "Succeeded" for job in ended)


def through_kueue(api: Api, room: Room, count: int) -> tuple[float, float]:
    """Seconds; CPU seconds of Kueue's process."""
    cluster, path = room.cluster, f"/apis/batch/v1/namespaces/{room.namespace}/jobs"
    install(cluster)
    for one in kueue.queue(room.namespace, cpu=QUOTA_CPU, memory="1000Gi"):
        until(lambda one=one: _applied(cluster, room.namespace, one), 60, "Kueue's queue")  # type: ignore[misc]
    process = next(one for one in psutil.process_iter(["cmdline"]) if _is_kueue(one))
    spec = objects.pod_spec(["true"], "none", "Never") | {"nodeSelector": FAKE, "tolerations": TOLERATED}
    amounts = {"cpu": CPU, "memory": MEMORY}
    spec["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    done, over = set[str](), threading.Event()
    version = api.get(path, limit=1)["metadata"]["resourceVersion"]

    def watch() -> None:
        for event in api.watch(path, resourceVersion=version):
            if event["type"] != "DELETED" and is_complete(event["object"]):
                done.add(event["object"]["metadata"]["name"])
            if len(done) == count:
                over.set()
                return

    threading.Thread(target=watch, daemon=True).start()
    spent, start = cpu_seconds(process), time.perf_counter()

    def create(number: int) -> None:
        job = objects.job(f"bare-{number}", spec, suspend=True)
        job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "jobs"}
        api.post(path, job)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create, range(count)))
    if not over.wait(3000):
        raise RuntimeError(f"{len(done)} of {count} jobs are complete")
    return time.perf_counter() - start, cpu_seconds(process) - spent


def install(cluster: Cluster) -> None:
    """Kueue with a client that is not held back."""
    kueue.install(cluster)
    (found,) = (
        one
        for one in kueue.manifests(cluster.images / "kueue.yaml")
        if one["kind"] == "ConfigMap" and "controller_manager_config.yaml" in one["data"]
    )
    told = yaml.safe_load(found["data"]["controller_manager_config.yaml"])
    told["clientConnection"] = CLIENT
    found["data"]["controller_manager_config.yaml"] = yaml.safe_dump(told)
    cluster.apply(found)
    place = ["-n", "kueue-system"]
    cluster.kubectl(*place, "rollout", "restart", "deployment/kueue-controller-manager")
    cluster.kubectl(*place, "rollout", "status", "deployment/kueue-controller-manager", "--timeout=180s")
    until(lambda: sum(map(_is_kueue, psutil.process_iter(["cmdline"]))) == 1, 120, "one Kueue")


def _is_kueue(process: psutil.Process) -> bool:
    return (process.info["cmdline"] or [""])[0] == "/manager"


def _applied(cluster: Cluster, namespace: str, one: dict[str, Any]) -> bool:
    """Kueue's webhook may not listen yet."""
    try:
        cluster.apply(one)
    except Exception as error:
        if "webhook" not in str(error):
            raise
        return False
    return True


def run(*, quick: bool = False) -> dict[str, Any]:
    """Ours, then Kueue's."""
    count = 200 if quick else 2000
    with running_cluster() as cluster, a_room(cluster) as room, a_room(cluster) as other:
        slow_kwok(cluster, (1, 1))
        with cluster.fake_nodes(NODES):
            api = Api(cluster)
            ours, our_cpu, succeeded = through_us(api, room, count)
            theirs, their_cpu = through_kueue(api, other, count)
    figures = {
        "benchmark": "k8s_kueue",
        "jobs": count,
        "quota_jobs_at_once": AT_ONCE,
        "jobs_per_s": round(count / ours, 2),
        "kueue_jobs_per_s": round(count / theirs, 2),
        "server_cpu_s_per_job": round(our_cpu / count, 4),
        "kueue_cpu_s_per_job": round(their_cpu / count, 4),
        "cpu_ratio": round(our_cpu / their_cpu, 2),
        "succeeded": succeeded,
    }
    reached = figures["jobs_per_s"] >= figures["kueue_jobs_per_s"] and figures["cpu_ratio"] <= 3 and succeeded == count
    return {**figures, "pass": reached}
