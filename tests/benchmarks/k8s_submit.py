"""A one-cell job in a cluster against a bare Job that runs ``jupyter execute`` on the same notebook, in turn.

Ours is timed from the client's call to the first log byte that a client can read, and to Succeeded as a client sees it;
the bare Job from its creation to Complete, as a watch tells it. Both have the same image, CPU and memory. Then the same
cell where a kernel waits for it (the pool).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from .cluster import Api, Room, a_room, bare_job, config_map, is_complete, running_cluster
from .k8s_scale import metric
from .log_tail import TAIL_CODE, tail
from .server import RunningServer
from .stats import median, percentile
from .submit_latency import CODE, submit_once

CPU, MEMORY = "1", "512Mi"
BREAKDOWN = ("admitted", "inputs_there", "code_ended", "succeeded_seen")
"""The end of each part, in order; the first begins with the client's call."""


def bare_once(api: Api, room: Room, number: int) -> float:
    """Seconds from creating a bare Job to Complete."""
    path, name = f"/apis/batch/v1/namespaces/{room.namespace}/jobs", f"bare-{number}"
    job = bare_job(name, "one", room.cluster.pull_policy, cpu=CPU, memory=MEMORY)
    start = time.perf_counter()
    made = api.post(path, job)
    query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": made["metadata"]["resourceVersion"]}
    for event in api.watch(path, **query):
        if is_complete(event["object"]):
            break
    took = time.perf_counter() - start
    api.http.delete(f"{path}/{name}", params={"propagationPolicy": "Background"}).raise_for_status()
    return took


def ours_once(server: RunningServer) -> tuple[float, float, dict[str, float]]:
    """Seconds to the first line and to Succeeded, and where they went."""
    called = time.time()
    first, done, _ = submit_once(server, CODE, cpu=CPU, memory=MEMORY)
    with server.http() as http:
        job = http.get("trainjobs", params={"limit": 1}).json()["items"][0]
    attempt = job["status"]["attempts"][-1]
    ends = [_seconds(attempt["admitted"]), _seconds(attempt["start"]), _seconds(attempt["end"]), called + done]
    begins = [called, *ends]
    return first, done, {name: end - begin for name, begin, end in zip(BREAKDOWN, begins, ends, strict=False)}


def warm_once(server: RunningServer) -> tuple[float, float]:
    """Seconds to the first line and to Succeeded of a job that asks for no more than its profile gives."""
    deadline = time.monotonic() + 120
    while metric(server, "trainjob_warm_slots", state="warm") != 1:
        if time.monotonic() > deadline:
            raise RuntimeError("no kernel waits for a job")
        time.sleep(0.1)
    before = metric(server, "trainjob_pool_starts_total", start="warm")
    first, done, _ = submit_once(server, CODE)
    if metric(server, "trainjob_pool_starts_total", start="warm") != before + 1:
        raise RuntimeError("the job did not begin in the kernel that waited")
    return first, done


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def run(*, quick: bool = False) -> dict[str, Any]:
    """Medians of 10 pairs after one warm-up of each, and the delay of a job's lines."""
    rounds, seconds = (3, 8) if quick else (10, 30)
    lines, dones, bare, parts = [], [], [], []
    with running_cluster("python") as cluster, a_room(cluster) as room:
        api = Api(cluster)
        api.post(f"/api/v1/namespaces/{room.namespace}/configmaps", config_map("one", CODE))
        with room.server({"cluster": room.backend()}) as server:
            for number in range(rounds + 1):
                for is_ours in (True, False) if number % 2 else (False, True):  # neither always comes second
                    if is_ours:
                        first, done, where = ours_once(server)
                    else:
                        other = bare_once(api, room, number)
                if number:
                    lines.append(first)
                    dones.append(done)
                    bare.append(other)
                    parts.append(where)
            delays = tail(server, TAIL_CODE.format(seconds=seconds), resources={"cpu": CPU, "memory": MEMORY})
        with room.server({"cluster": room.backend(warm={"default": 1})}) as server:
            warm = [warm_once(server) for _ in range(rounds + 1)][1:]
    figures: dict[str, Any] = {
        "benchmark": "k8s_submit",
        "rounds": rounds,
        "first_byte_median_s": median(lines, 3),
        "succeeded_median_s": median(dones, 3),
        "succeeded_p95_s": percentile(dones, 95, 3),
        "bare_complete_median_s": median(bare, 3),
        "succeeded_to_bare_ratio": round(median(dones) / median(bare), 3),
        "succeeded_minus_bare_s": round(median(dones) - median(bare), 3),
        "breakdown_median_s": {name: median([part[name] for part in parts], 3) for name in BREAKDOWN},
        "warm_first_byte_median_s": median([first for first, _ in warm], 3),
        "warm_first_byte_max_s": round(max(first for first, _ in warm), 3),
        "warm_succeeded_median_s": median([done for _, done in warm], 3),
        "tailed_lines": len(delays),
        "line_p50_s": percentile(delays, 50, 3),
        "line_p95_s": percentile(delays, 95, 3),
    }
    ratio, later = figures["succeeded_to_bare_ratio"], figures["succeeded_minus_bare_s"]
    reached = (ratio <= 1.15 or later <= 1.0) and figures["line_p95_s"] <= 1.0 and len(delays) > seconds * 50
    return {**figures, "pass": reached and figures["warm_first_byte_median_s"] <= 1.0}
