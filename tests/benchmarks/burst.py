"""50 jobs at once in a queue that runs two: throughput, the API's latency meanwhile, and the limit from the record."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any

import httpx

from .server import RunningServer, running_server
from .stats import percentile

LIMIT = 2


class Poller(threading.Thread):
    """Asks for lists, single jobs and ``me`` all the while, and keeps how long each answer took."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.times: list[float] = []
        self.errors: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Until ``done`` is set."""
        with self.server.http() as http:
            while not self.done.is_set():
                for path in ("trainjobs?limit=100", "queues", "me"):
                    start = time.perf_counter()
                    answer = http.get(path)
                    self.times.append(time.perf_counter() - start)
                    if answer.status_code != 200:
                        self.errors.append(f"{path}: {answer.status_code}")
                self.done.wait(0.02)


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    """The highest number of attempts between admission and end at any instant, as the record has it."""
    changes = []
    for job in jobs:
        for attempt in job["status"]["attempts"]:
            changes.append((datetime.fromisoformat(attempt["admitted"].replace("Z", "+00:00")), 1))
            changes.append((datetime.fromisoformat(attempt["end"].replace("Z", "+00:00")), -1))
    most = now = 0
    for _, change in sorted(changes):  # an end and an admission at one instant: the end sorts first
        now += change
        most = max(most, now)
    return most


def run(*, quick: bool = False) -> dict[str, Any]:
    """Submit all as fast as the API takes them, then wait for the last."""
    count = 6 if quick else 50
    with running_server() as server, server.http() as http:
        queue = http.get("queues/default").json()
        queue["spec"]["limits"] = {"runningJobs": LIMIT}
        http.put("queues/default", json=queue).raise_for_status()
        namespace = http.get("me").json()["username"]
        poller = Poller(server)
        poller.start()
        start = time.perf_counter()
        uids = [_submit(http, namespace, number) for number in range(count)]
        submitted = time.perf_counter() - start
        jobs = _wait_for_all(http, count)
        took = time.perf_counter() - start
        poller.done.set()
        poller.join()
    phases = [job["status"]["phase"] for job in jobs]
    figures = {
        "benchmark": "burst",
        "jobs": count,
        "running_limit": LIMIT,
        "submitted_s": round(submitted, 3),
        "total_s": round(took, 2),
        "jobs_per_s": round(count / took, 3),
        "get_requests": len(poller.times),
        "get_p50_ms": round(percentile(poller.times, 50) * 1000, 1),
        "get_p99_ms": round(percentile(poller.times, 99) * 1000, 1),
        "get_errors": len(poller.errors),
        "most_running_at_once": most_at_once(jobs),
        "succeeded": phases.count("Succeeded"),
        "lost": count - len({job["metadata"]["uid"] for job in jobs} & set(uids)),
    }
    reached = (
        figures["get_p99_ms"] <= 100
        and figures["most_running_at_once"] <= LIMIT
        and figures["succeeded"] == count
        and not figures["lost"]
        and not figures["get_errors"]
    )
    return {**figures, "pass": reached}


def _submit(http: httpx.Client, namespace: str, number: int) -> str:
    body = {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": f"burst{number}"},
        "spec": {"source": {"type": "cell", "code": f"print({number})"}, "resources": {"cpu": "500m"}},
    }
    answer = http.post(f"namespaces/{namespace}/trainjobs", json=body)
    answer.raise_for_status()
    return str(answer.json()["metadata"]["uid"])


def _wait_for_all(http: httpx.Client, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        items: list[dict[str, Any]] = http.get("trainjobs", params={"limit": 500}).json()["items"]
        if sum(item["status"]["phase"] in ("Succeeded", "Failed", "Cancelled") for item in items) == count:
            return items
        time.sleep(0.25)
    raise RuntimeError("the jobs did not end within ten minutes")
