"""2,000 jobs on fake nodes, 500 running at once: what that costs the API server and our server, and how old news gets.

The nodes are kwok's: pods there run for some seconds and end well, and nothing runs in them. What a sidecar would have
shipped is put into the store by the benchmark, so that each job is followed, harvested and recorded as a real one is.
The requests are those that the API server itself has noted.

The bare counterpart: as many bare Jobs on the same nodes, created, watched and deleted by a loop that does nothing else
and keeps no record. It is what the cluster alone takes.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from jupyter_trainjob.backends.kubernetes.objects import MANAGED_BY, MANAGER, UID
from jupyter_trainjob.resources.names import attempt_prefix
from jupyter_trainjob.storage.loglayout import LogRecord
from tests.cluster import objects

from .burst import most_at_once
from .cluster import (
    FAKE,
    TOLERATED,
    Api,
    Audit,
    Room,
    Sampler,
    a_room,
    counted,
    cpu_seconds,
    is_complete,
    notebook_of,
    running_cluster,
    slow_kwok,
    until,
)
from .server import RunningServer

NODES = 10
CPU, MEMORY = "100m", "64Mi"
LIMITS = {
    "requests_per_job": 8,
    "memory_growth_mb": 100,
    "watch_lag_p99_s": 1.0,
    "idle_requests_per_s": 0.1,
}


def submit_all(
    server: RunningServer, count: int, then: Callable[[str], None] = lambda uid: None
) -> tuple[float, list[str]]:
    """Seconds, and the uids. ``then`` is done for each at once."""
    body = {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": "scale"},
        "spec": {"source": {"type": "cell", "code": "print(1)"}, "resources": {"cpu": CPU, "memory": MEMORY}},
    }

    def submit(http: httpx.Client) -> str:
        answer = http.post(f"namespaces/{namespace}/trainjobs", json=body)
        answer.raise_for_status()
        uid = str(answer.json()["metadata"]["uid"])
        then(uid)
        return uid

    with server.http() as http, ThreadPoolExecutor(2) as pool:
        namespace = http.get("me").json()["username"]
        start = time.perf_counter()
        uids = list(pool.map(submit, [http] * count))
        return time.perf_counter() - start, uids


def leave(room: Room, uid: str) -> None:
    """What the sidecar of a job that printed one line leaves, but for its last word."""
    prefix = attempt_prefix(uid, 1)
    for name, data in {
        "log/" + "0" * 20: b"1\n",
        "log.json": LogRecord(2).to_json(),
        "usage.json": b"{}",
        "notebook.ipynb": json.dumps(notebook_of("print(1)")).encode(),
    }.items():
        room.store.put(prefix + name, data, durable=False)


class Sidecars(threading.Thread):
    """Says the last word of the sidecars of all pods in a room, when they are made. Ends with the program."""

    def __init__(self, api: Api, room: Room) -> None:
        super().__init__(daemon=True)
        self._api, self._room = api, room
        self.start()

    def run(self) -> None:
        """Until the cluster's end. The API server ends a watch that falls behind: then all are looked at again."""
        path, said = f"/api/v1/namespaces/{self._room.namespace}/pods", set[str]()
        with ThreadPoolExecutor(4) as pool, contextlib.suppress(httpx.ConnectError, httpx.HTTPStatusError):
            while True:
                with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    for event in self._api.watch(path, labelSelector=f"{MANAGED_BY}={MANAGER}"):
                        uid = event["object"].get("metadata", {}).get("labels", {}).get(UID)
                        if uid and uid not in said:
                            said.add(uid)
                            pool.submit(self._say, uid).add_done_callback(_told)
                        elif not uid:
                            break

    def _say(self, uid: str) -> None:
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        log = {"size": 2, "stored": 2, "complete": True, "gap": None, "missing": 0}
        state = {
            "protocol": 1,
            "state": "ended",
            "ready": now,
            "log": log,
            "metrics": {**log, "size": 0, "stored": 0},
            "usage": {"cpuSeconds": 0.5, "peakMemoryBytes": 5e7},
            "claims": {"end": {"outcome": "ok", "error": None, "results": []}, "started": now},
            "notebook": True,
            "files": [],
            "main": {"exitCode": 0, "signal": None, "limit": "", "logBytes": 2, "lostBytes": 0, "at": now},
            "failed": None,
        }
        self._room.store.put(f"{attempt_prefix(uid, 1)}state.json", json.dumps(state).encode(), durable=False)


def _told(done: Future[None]) -> None:
    """What went wrong must be seen: a pod without a last word counts as lost."""
    if error := done.exception():
        traceback.print_exception(error)


def limit_running(server: RunningServer, count: int) -> None:
    """How many jobs the queue runs at once."""
    with server.http() as http:
        queue = http.get("queues/default").json()
        queue["spec"].update(limits={"runningJobs": count}, queuedPerUser=None)
        http.put("queues/default", json=queue).raise_for_status()


def metric(server: RunningServer, name: str, **labels: str) -> float:
    """One sample of the server's own metrics; NaN where it has none."""
    with server.http() as http:
        text = http.get("metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return float("nan")


def phases(server: RunningServer) -> dict[str, int]:
    """How many jobs are in each phase. Asks for a page at a time, as the panel does."""
    with server.http() as http:
        use = http.get("queues/default").json()["status"]["use"]
        return {"running": use["runningJobs"], "queued": use["queuedJobs"]}


def all_jobs(server: RunningServer) -> list[dict[str, Any]]:
    """Every job as the record has it."""
    found, token = [], ""
    with server.http() as http:
        while True:
            page = http.get("trainjobs", params={"limit": 500, "continue": token}).json()
            found += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return found


def bare(api: Api, room: Room, count: int, at_once: int) -> float:
    """Jobs per second of a loop that creates, watches and deletes Jobs."""
    path = f"/apis/batch/v1/namespaces/{room.namespace}/jobs"
    spec = objects.pod_spec(["true"], "none", "Never")
    spec |= {"nodeSelector": FAKE, "tolerations": TOLERATED}
    waiting = [f"bare-{number}" for number in range(count)]
    done = set[str]()
    version = api.get(path, limit=1)["metadata"]["resourceVersion"]
    start = time.perf_counter()
    while waiting and count - len(waiting) < at_once:
        api.post(path, objects.job(waiting.pop(), spec))
    for event in api.watch(path, resourceVersion=version):
        job = event["object"]
        name = job["metadata"]["name"]
        if event["type"] == "DELETED" or name in done or not is_complete(job):
            continue
        done.add(name)
        api.http.delete(f"{path}/{name}", params={"propagationPolicy": "Background"}).raise_for_status()
        if waiting:
            api.post(path, objects.job(waiting.pop(), spec))
        if len(done) == count:
            return count / (time.perf_counter() - start)
    raise RuntimeError("the watch ended")


def run(*, quick: bool = False) -> dict[str, Any]:
    """Submit all while the queue runs none; look how still it is; then let them run."""
    count, at_once, still, seconds = (200, 50, 20, (2, 4)) if quick else (2000, 500, 60, (15, 30))
    with running_cluster() as cluster, a_room(cluster) as room, a_room(cluster) as other:
        slow_kwok(cluster, seconds)
        audit, api = Audit(cluster), Api(cluster)
        Sidecars(api, room)
        backend = room.backend(kubeconfig=str(audit.kubeconfig), node_selector=FAKE, tolerations=TOLERATED)
        with cluster.fake_nodes(NODES):
            bare_rate = bare(api, other, count // 4, at_once)
            with room.server({"cluster": backend}) as server:
                limit_running(server, 0)
                _, first = submit_all(server, 5)  # what is loaded once is loaded
                for uid in first:
                    leave(room, uid)
                limit_running(server, at_once)
                until(lambda: phases(server) == {"running": 0, "queued": 0}, 120, "the first jobs")
                limit_running(server, 0)
                time.sleep(2)
                memory, begun = Sampler(server.memory_bytes), server.memory_bytes()
                submitting, uids = submit_all(server, count)
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(lambda uid: leave(room, uid), uids))
                still_from, spent = time.time(), cpu_seconds(server.process)
                time.sleep(still)
                still_to, still_cpu = time.time(), cpu_seconds(server.process) - spent
                watches_waiting = audit.asked().open_watches
                lag = Sampler(lambda: metric(server, "trainjob_backend_watch_lag_seconds", backend="cluster"), 3.0)
                spent, start = cpu_seconds(server.process), time.perf_counter()
                limit_running(server, at_once)
                until(lambda: phases(server)["running"] >= min(at_once, count) * 0.9, 600, "jobs that run")
                watches_running = audit.asked().open_watches
                until(lambda: phases(server) == {"running": 0, "queued": 0}, 3000, "the last job")
                took, ran_to = time.perf_counter() - start, time.time()
                spent = cpu_seconds(server.process) - spent
                growth, lag_p99 = memory.stop() - begun, lag.stop()
                jobs = [job for job in all_jobs(server) if job["metadata"]["uid"] in set(uids)]
                asked = audit.asked()
    ran, quiet = asked.between(still_to, ran_to), asked.between(still_from, still_to)
    ends = [job["status"]["phase"] for job in jobs]
    figures: dict[str, Any] = {
        "benchmark": "k8s_scale",
        "jobs": count,
        "running_limit": at_once,
        "submit_jobs_per_s": round(count / submitting, 1),
        "jobs_per_s": round(count / took, 2),
        "bare_jobs_per_s": round(bare_rate, 2),
        "most_running_at_once": most_at_once(jobs),
        "succeeded": ends.count("Succeeded"),
        "requests_per_job": round(len(ran) / count, 2),
        "requests_by_kind": counted(ran),
        "server_cpu_s_per_job": round(spent / count, 4),
        "server_cpu_share_while_running": round(spent / took, 2),
        "memory_growth_mb": round(growth / 1e6, 1),
        "watch_lag_p99_s": round(lag_p99, 3),
        "watches_while_waiting": watches_waiting,
        "watches_while_running": watches_running,
        "idle_requests_per_s": round(len(quiet) / still, 3),
        "idle_requests_by_kind": counted(quiet),
        "idle_cpu_share": round(still_cpu / still, 3),
    }
    reached = (
        all(figures[name] <= most for name, most in LIMITS.items())
        and watches_waiting == watches_running
        and figures["succeeded"] == count
        and figures["most_running_at_once"] <= at_once
    )
    return {**figures, "pass": reached}
