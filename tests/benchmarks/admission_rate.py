"""The whole path: sent through the REST API, admitted, created, ended at once, recorded as finished. Durable SQLite.

Sent in batches of 500 as sweeps send them, and then one job a request. CPU time is the server's.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from .server import RunningServer, running_server

BATCH = 500
RATE = 500.0
"""Jobs a second that are to be reached."""
ROOT = Path(__file__).parents[2]
FINAL = "phase=Succeeded"


@contextmanager
def with_instant_backend(*words: str) -> Iterator[RunningServer]:
    """A server whose jobs end at once. ``words``: further options."""
    with tempfile.TemporaryDirectory(prefix="trainjob-bench-") as folder:
        info = Path(folder) / "trainjob_bench-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trainjob-bench\nVersion: 1.0\n")
        point = "[jupyter_trainjob.backends]\ninstant = tests.benchmarks.instant:Instant\n"
        (info / "entry_points.txt").write_text(point)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, str(ROOT), *([before] if before else [])])
        try:
            options = "--TrainJobExtension.backends={'instant': {'type': 'instant'}}"
            with running_server(options, *words) as server:
                yield server
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def cell(**spec: Any) -> dict[str, Any]:
    """A job's JSON."""
    return {
        "metadata": {"generateName": "rate"},
        "spec": {"source": {"type": "cell", "code": "print(x)"}, "parameters": {"x": 0}, **spec},
    }


def unfinished(http: httpx.Client) -> int:
    """Jobs that have not ended, as the queue tells."""
    use = http.get("queues/default").json()["status"]["use"]
    return int(use["runningJobs"]) + int(use["queuedJobs"])


def measure(server: RunningServer, http: httpx.Client, count: int, batch: int) -> dict[str, float]:
    """Send ``count`` jobs, ``batch`` in a request (1: each by itself), and wait until the last has ended."""
    me = http.get("me").json()["username"]
    cpu, began = sum(server.process.cpu_times()[:2]), time.perf_counter()
    for start in range(0, count, batch):
        if batch == 1:
            http.post(f"namespaces/{me}/trainjobs", json=cell()).raise_for_status()
        else:
            points = [{"parameters": {"x": start + number}} for number in range(min(batch, count - start))]
            http.post(f"namespaces/{me}/batches", json={"template": cell(), "points": points}).raise_for_status()
    sent = time.perf_counter() - began
    while unfinished(http):
        time.sleep(0.5)
    took = time.perf_counter() - began
    spent = sum(server.process.cpu_times()[:2]) - cpu
    return {
        "jobs": count,
        "sent_s": round(sent, 2),
        "total_s": round(took, 2),
        "jobs_per_s": round(count / took, 1),
        "cpu_ms_per_job": round(1000 * spent / count, 2),
    }


def run(*, quick: bool = False) -> dict[str, Any]:
    """20,000 in batches, then 500 one by one."""
    with with_instant_backend() as server, server.http() as http:
        queue = http.get("queues/default").json()
        queue["spec"]["queuedPerUser"] = None
        http.put("queues/default", json=queue).raise_for_status()
        many = measure(server, http, 1000 if quick else 20_000, BATCH)
        single = measure(server, http, 50 if quick else 500, 1)
        me = http.get("me").json()["username"]
        lost = http.get(f"namespaces/{me}/trainjobs?limit=1&phase=Failed").json()["items"]
    return {
        "benchmark": "admission_rate",
        "batches": many,
        "one_a_request": single,
        "failed": len(lost),
        "pass": many["jobs_per_s"] >= RATE and not lost,
    }
