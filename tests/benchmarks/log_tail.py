"""How soon a printed line can be read, and what a 1 GiB log costs the server."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import httpx

from .server import RunningServer, running_server
from .stats import percentile

TAIL_CODE = """
import time
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    print(f"{{time.time():.6f}}")
    time.sleep(0.01)
"""
FLOOD_CODE = """
import os
line = b"x" * 1023 + b"\\n"
block = line * 1024
for number in range({mebibytes}):
    os.write(1, block)
"""


def submit(http: httpx.Client, code: str, **spec: Any) -> str:
    """The path of a new job."""
    namespace = http.get("me").json()["username"]
    body = {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": "tail"},
        "spec": {"source": {"type": "cell", "code": code}, **spec},
    }
    answer = http.post(f"namespaces/{namespace}/trainjobs", json=body)
    answer.raise_for_status()
    return f"namespaces/{namespace}/trainjobs/{answer.json()['metadata']['uid']}"


def tail(server: RunningServer, code: str, **spec: Any) -> list[float]:
    """From print to reader, in seconds, for every line of a job that prints the time."""
    delays: list[float] = []
    rest = b""
    offset = 0
    with server.http() as http:
        path = submit(http, code, **spec)
        while True:
            answer = http.get(f"{path}/log", params={"offset": offset, "wait": 20})
            now = time.time()
            answer.raise_for_status()
            offset = int(answer.headers["X-Log-Next-Offset"])
            *lines, rest = (rest + answer.content).split(b"\n")
            delays += [now - float(line) for line in lines if line.strip()]
            if answer.headers["X-Log-Complete"] == "true" and offset >= int(answer.headers["X-Log-Size"]):
                return delays


def flood(server: RunningServer, mebibytes: int) -> dict[str, Any]:
    """Print so much, read all of it while it is printed, and watch the server's memory."""
    with server.http() as http:
        for _ in range(20):
            http.get("trainjobs")
        before = peak = server.memory_bytes()
        stop = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not stop.wait(0.05):
                peak = max(peak, server.memory_bytes())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        resources = {"log": f"{mebibytes + 64}Mi", "memory": "1Gi"}
        path = submit(http, FLOOD_CODE.format(mebibytes=mebibytes), resources=resources)
        read = offset = 0
        start = time.perf_counter()
        while True:
            answer = http.get(f"{path}/log", params={"offset": offset, "wait": 20})
            answer.raise_for_status()
            read += len(answer.content)
            offset = int(answer.headers["X-Log-Next-Offset"])
            if answer.headers["X-Log-Complete"] == "true" and offset >= int(answer.headers["X-Log-Size"]):
                break
        took = time.perf_counter() - start
        stop.set()
        watcher.join()
    return {
        "flood_bytes": mebibytes * 2**20,
        "flood_read_bytes": read,
        "flood_s": round(took, 1),
        "flood_server_growth_mib": round((peak - before) / 2**20, 1),
    }


def run(*, quick: bool = False) -> dict[str, Any]:
    """First the lines, then the flood, on one server."""
    seconds, mebibytes = (4, 32) if quick else (20, 1024)
    with running_server("--TrainJobExtension.default_profile=default") as server:
        with server.http() as http:
            profile = http.get("profiles/default").json()
            profile["spec"]["maximum"] = {}
            http.put("profiles/default", json=profile).raise_for_status()
        delays = tail(server, TAIL_CODE.format(seconds=seconds))
        flooded = flood(server, mebibytes)
    figures = {
        "benchmark": "log_tail",
        "lines": len(delays),
        "p50_ms": round(percentile(delays, 50) * 1000),
        "p95_ms": round(percentile(delays, 95) * 1000),
        "max_ms": round(max(delays) * 1000),
        **flooded,
        "cpus": os.cpu_count(),
    }
    reached = (
        figures["p95_ms"] <= 500
        and flooded["flood_server_growth_mib"] < 50
        and flooded["flood_read_bytes"] == flooded["flood_bytes"]
        and len(delays) > seconds * 50
    )
    return {**figures, "pass": reached}
