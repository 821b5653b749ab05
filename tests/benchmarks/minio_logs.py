"""100 logs of 1 MiB a minute, all tailed at once through the API: how late a line is read, and what that asks of MinIO.

15 of them are real pods on the one node; the others are shipped by processes beside it that do as the sidecars of as
many pods would (see ``shippers``), with the form of an attempt that our server has really made: on a fake node.
MinIO itself counts the requests.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from prometheus_client.parser import text_string_to_metric_families

from jupyter_trainjob.resources.names import attempt_name, attempt_prefix
from tests.cluster import components
from tests.cluster.cluster import Cluster

from .cluster import FAKE, TOLERATED, Api, Room, a_room, cpu_seconds, running_cluster, slow_kwok, until
from .server import RunningServer
from .shippers import LINE_BYTES, LINES_PER_SECOND
from .stats import percentile

LIMIT_S = 1.5
PROCESSES = 4
CODE = f"""
import time
end = time.time() + {{seconds}}
while (now := time.time()) < end:
    print(f"{{{{now:.6f}}}} ".ljust({LINE_BYTES - 1}, "."), flush=True)
    time.sleep(max(0.0, now + {1 / LINES_PER_SECOND} - time.time()))
"""
TOP = Path(__file__).parents[2]


@dataclass
class Follower:
    """One reader of one log. ``delays``: (when it was printed, how much later it was read), in seconds."""

    path: str
    delays: list[tuple[float, float]] = field(default_factory=list)
    answers: int = 0
    read_bytes: int = 0

    async def follow(self, session: aiohttp.ClientSession, url: str) -> None:
        """For ever: until it is cancelled."""
        offset, rest = 0, b""
        while True:
            query = {"offset": str(offset), "wait": "20"}
            async with session.get(f"{url}/{self.path}/log", params=query) as answer:
                answer.raise_for_status()
                data = await answer.read()
            now = time.time()
            offset = int(answer.headers["X-Log-Next-Offset"])
            self.answers, self.read_bytes = self.answers + 1, self.read_bytes + len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                printed = float(line.split(b" ", 1)[0])
                self.delays.append((printed, now - printed))


def count_requests(cluster: Cluster) -> None:
    """Let MinIO tell its metrics to whoever asks."""
    store = cluster.minio
    environment = {"MINIO_ROOT_USER": store.access_key, "MINIO_ROOT_PASSWORD": store.secret_key}
    off = dict.fromkeys(("MINIO_BROWSER", "MINIO_UPDATE", "MINIO_CALLHOME_ENABLE"), "off")
    cluster.kill("minio")
    cluster.add("minio", components.minio(), {**environment, **off, "MINIO_PROMETHEUS_AUTH_TYPE": "public"})
    cluster.wait_for("minio")


def requests(cluster: Cluster) -> dict[str, float]:
    """How many MinIO has answered, by kind. It renews its numbers every ten seconds."""
    where = cluster.minio
    text = httpx.get(f"{where.url}/minio/v2/metrics/cluster", verify=where.ca_file, trust_env=False).text  # type: ignore[arg-type, unused-ignore]
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "minio_s3_requests_total":
                found[sample.labels["api"]] = found.get(sample.labels["api"], 0.0) + sample.value
    return found


def submit(http: httpx.Client, code: str, **spec: Any) -> str:
    """The uid of a new job."""
    namespace = http.get("me").json()["username"]
    body = {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": "log"},
        "spec": {"source": {"type": "cell", "code": code}, **spec},
    }
    answer = http.post(f"namespaces/{namespace}/trainjobs", json=body)
    answer.raise_for_status()
    return str(answer.json()["metadata"]["uid"])


def form(api: Api, room: Room, uid: str) -> dict[str, Any] | None:
    """What the Secret of the attempt lets its sidecar do; None while there is none."""
    answer = api.http.get(f"/api/v1/namespaces/{room.namespace}/secrets/{attempt_name(uid, 1)}")
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    told = json.loads(base64.b64decode(answer.json()["data"]["credentials.json"]))
    return {"prefix": attempt_prefix(uid, 1), "post": told["post"]}


def start_shippers(room: Room, forms: list[dict[str, Any]], begin: float, end: float) -> None:
    """In the cluster's network, as pods are."""
    cluster = room.cluster
    for number in range(PROCESSES):
        orders = cluster.state / f"shippers-{number}.json"
        orders.write_text(json.dumps(forms[number::PROCESSES]))
        command = [sys.executable, "-m", "tests.benchmarks.shippers", f"/run/state/{orders.name}"]
        command += ["/run/state/pki/ca.crt", str(begin), str(end)]
        cluster.add(f"shippers-{number}", command, {"PYTHONPATH": str(TOP)})


async def read_all(server: RunningServer, followers: list[Follower], until_time: float) -> None:
    """All at once, each with a connection of its own."""
    headers = {"Authorization": f"token {server.token}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        url = f"{server.url}/trainjob/api/v1"
        tasks = [asyncio.create_task(one.follow(session, url)) for one in followers]
        await asyncio.wait(tasks, timeout=until_time - time.time())
        for task in tasks:
            if task.done():
                task.result()  # nothing may end it but us
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(*, quick: bool = False) -> dict[str, Any]:
    """Start them, wait until all print, then measure for a while."""
    real, fake, seconds = (3, 20, 20) if quick else (15, 85, 60)
    with running_cluster("python") as cluster, a_room(cluster) as room:
        count_requests(cluster)
        slow_kwok(cluster, (3600, 3600))
        api = Api(cluster)
        there = room.backend(sidecar={"cpu": "20m"})
        beside = room.backend(installation="fake", node_selector=FAKE, tolerations=TOLERATED)
        with cluster.fake_nodes(2), room.server({"cluster": there, "fake": beside}) as server, server.http() as http:
            queue = {"metadata": {"name": "fake"}, "spec": {"backend": "fake"}}
            http.post("queues", json=queue).raise_for_status()
            small = {"cpu": "100m", "memory": "256Mi"}
            mine = [submit(http, CODE.format(seconds=seconds + 600), resources=small) for _ in range(real)]
            theirs = [submit(http, "print(1)", queue="fake", resources=small) for _ in range(fake)]
            forms = [until(lambda uid=uid: form(api, room, uid), 120, "a Secret") for uid in theirs]  # type: ignore[misc]
            namespace = http.get("me").json()["username"]
            paths = [f"namespaces/{namespace}/trainjobs/{uid}" for uid in mine + theirs]
            for path in paths[:real]:
                until(lambda path=path: http.get(f"{path}/log").content, 300, "a real pod that prints")  # type: ignore[misc]
            begin = time.time() + 5
            end = begin + seconds
            start_shippers(room, forms, begin - 5, end)
            followers = [Follower(path) for path in paths]
            time.sleep(max(0.0, begin - 3 - time.time()))
            asked, spent, at = requests(cluster), cpu_seconds(server.process), time.time()
            asyncio.run(read_all(server, followers, end + 2))
            took, spent = time.time() - at, cpu_seconds(server.process) - spent
            time.sleep(11)
            answered = requests(cluster)
    delays = [delay for one in followers for printed, delay in one.delays if begin <= printed < end - LIMIT_S]
    by_real = [delay for one in followers[:real] for printed, delay in one.delays if begin <= printed < end - LIMIT_S]
    kinds = {name: round(value - asked.get(name, 0.0)) for name, value in sorted(answered.items())}
    kinds = {name: value for name, value in kinds.items() if value}
    megabytes = sum(one.read_bytes for one in followers) / 1e6
    expected = (real + fake) * (seconds - LIMIT_S) * LINES_PER_SECOND
    figures: dict[str, Any] = {
        "benchmark": "minio_logs",
        "logs": real + fake,
        "real_pods": real,
        "read_mb": round(megabytes, 1),
        "lines": len(delays),
        "lines_expected_share": round(len(delays) / expected, 3),
        "line_p50_s": percentile(delays, 50, 3),
        "line_p95_s": percentile(delays, 95, 3),
        "line_max_s": round(max(delays), 3),
        "real_pods_line_p95_s": percentile(by_real, 95, 3),
        "answers_per_s": round(sum(one.answers for one in followers) / took, 1),
        "store_requests_per_mb": round(sum(kinds.values()) / megabytes, 1),
        "store_requests_by_kind": kinds,
        "server_cpu_share": round(spent / took, 2),
    }
    reached = figures["line_p95_s"] <= LIMIT_S and figures["lines_expected_share"] >= 0.95 and bool(by_real)
    return {**figures, "pass": reached}
