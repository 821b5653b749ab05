"""Code that means harm, in real jobs: what it reaches, reads, floods and forges is its own job's, and that is told.

What keeps it from more was seen to be needed: without the NetworkPolicies the same code reaches everything.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, Observation
from jupyter_trainjob.resources.names import attempt_prefix
from jupyter_trainjob.storage.logs import LogReader

from . import attacks, hostile, objects
from .backends import BUCKET, ClusterPlace, bring_image, open_store, settings
from .cluster import Cluster
from .pki import GATEWAY

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
]

SMALL = {"cpu": "250m", "memory": "320Mi", "disk": "64Mi", "log": "1Mi"}
"""Several at once fit on the node."""
TARGETS = {
    "API server": f"{GATEWAY}:6443",
    "API service": f"{hostile.SERVICE}:443",
    "kubelet": f"{GATEWAY}:10250",
    "metadata": f"{hostile.METADATA}:80",
    "internet": f"{hostile.INTERNET}:80",
    "DNS": f"udp:{GATEWAY}:53",
    "DNS by TCP": f"{GATEWAY}:53",
    "store": f"{GATEWAY}:9000",
}


@pytest.fixture(scope="module")
def targets(cluster: Cluster) -> Iterator[None]:
    bring_image(cluster)
    with hostile.servers(cluster):
        yield


class Room:
    """A namespace with a victim in it, which listens."""

    def __init__(self, cluster: Cluster, namespace: str, place: ClusterPlace) -> None:
        self.cluster, self.namespace, self.place = cluster, namespace, place

    async def settle(self) -> None:
        self.victim = await self.place.begin(hostile.VICTIM, timeLimitSeconds=900, resources=SMALL)
        await self.place.log_holds(self.victim, b"listening")
        self.address = hostile.pod_address(self.cluster, self.namespace, self.victim.name)

    async def table(self, code: str, *, ends: str = "ok", **spec: Any) -> tuple[dict[str, str], Observation]:
        seen = await self.place.run(code, seconds=240, timeLimitSeconds=120, **{"resources": SMALL, **spec})
        log = await self.place.log(seen.ref)
        assert seen.claims.get("end", {}).get("outcome", "") in ("ok", ends), (seen, log)
        return attacks.told(log), seen


def reached(told: dict[str, str]) -> set[str]:
    return {name for name, got in told.items() if got == "reached"}


async def room(cluster: Cluster, folder: Path, *, closed: bool) -> AsyncIterator[Room]:
    namespace = f"tests-{secrets.token_hex(4)}"
    await asyncio.to_thread(cluster.apply, objects.namespace(namespace))
    if closed:
        await asyncio.to_thread(cluster.apply, *hostile.policies(cluster, settings(cluster, namespace)))
    store = open_store(cluster, folder, namespace)
    made = Room(cluster, namespace, ClusterPlace(store, name="cluster", settings=settings(cluster, namespace)))
    await made.place.start()
    try:
        await made.settle()
        yield made
    finally:
        await made.place.clear()
        await asyncio.to_thread(cluster.kubectl, "delete", "namespace", namespace, "--wait=false")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(cluster: Cluster, targets: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """As an operator deploys it."""
    async for made in room(cluster, tmp_path_factory.mktemp("closed"), closed=True):
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def wide_open(cluster: Cluster, targets: None, tmp_path: Path) -> AsyncIterator[Room]:
    """Without NetworkPolicies."""
    async for made in room(cluster, tmp_path, closed=False):
        yield made


# The network


async def test_without_policies_code_reaches_everything(wide_open: Room) -> None:
    """So that what follows passes for the right reason."""
    aims = {**TARGETS, "another job": f"{wide_open.address}:{hostile.VICTIMS_PORT}"}
    told, _ = await wide_open.table(attacks.code("network", **aims))
    assert reached(told) == set(aims), told


async def test_code_reaches_the_object_store_and_nothing_else(closed: Room) -> None:
    aims = {**TARGETS, "another job": f"{closed.address}:{hostile.VICTIMS_PORT}"}
    told, _ = await closed.table(attacks.code("network", **aims))
    assert reached(told) == {"store"} and set(told) == {*aims, "a name"}, told
    assert told["a name"].startswith("gaierror"), "and knows no names"


async def test_code_gets_nothing_out_of_the_store_not_even_with_what_its_sidecar_has(closed: Room) -> None:
    store, uid = closed.place.store, "thief"
    own, theirs = f"{attempt_prefix(uid, 1)}state.json", f"{attempt_prefix(closed.victim.uid, 1)}state.json"
    base = store.address.prefix
    form = store.sign_post(attempt_prefix(uid, 1), 900, 2**20)
    store.put(own, b"mine")
    code = attacks.code(
        "store",
        bucket=f"{closed.cluster.minio.pod_url}/{BUCKET}",
        own=base + own,
        theirs=base + theirs,
        prefix=base + attempt_prefix(uid, 1),
        signed=store.sign_get(own, 900),
        form=form,
    )
    before = store.get(theirs)
    told, _ = await closed.table(code)
    good = {"stolen URL": "200", "stolen form": "204"}
    assert {name: got for name, got in told.items() if got in ("200", "204")} == good, "its own, and no more"
    assert all(got in ("400", "403") for name, got in told.items() if name not in good), told
    assert store.get(f"{attempt_prefix(uid, 1)}files/evil") == b"evil" and json.loads(store.get(theirs)).keys() >= {
        "log"
    }
    assert before, "the victim's state was there to be read"


# What lies beside it


async def test_code_reads_nothing_but_its_own_and_gets_no_rights(closed: Room) -> None:
    credentials = await asyncio.to_thread(
        hostile.in_sidecar, closed.cluster, closed.namespace, closed.victim.name, "cat",
        "/var/run/trainjob/credentials.json",
    )  # fmt: skip
    assert "policy" in credentials and "signature" in credentials.lower(), "there is something to be stolen"
    told, seen = await closed.table(attacks.code("reads", mark="mark-of-this-job"))
    nothing = ("token", "environment", "processes", "victim", "set-uid programs", "capabilities")
    assert {name: told.pop(name) for name in nothing} == dict.fromkeys(nothing, "[]")
    assert told.pop("other users' processes") == "set()"
    assert "/trainjob/in/" in told.pop("own mark"), "who searches finds what is there"
    signals = {name: told.pop(name) for name in list(told) if name.startswith("first: SIG")}
    assert len(signals) == 6 and seen.evidence["exitCode"] == 0, "no signal reached the first process"
    refused = re.compile(r"(PermissionError|FileNotFoundError|OSError|IsADirectoryError): .*")
    assert not {name: got for name, got in told.items() if not refused.match(got)}


# What it leaves


async def test_outputs_that_lead_elsewhere_stay_behind_and_bombs_stay_packed(closed: Room) -> None:
    code = attacks.code("links", seconds=2)
    # It may have taken its own end away, which harms nobody else.
    told, seen = await closed.table(code, ends="", resources={**SMALL, "fileSize": None}, outputs={"names": ["x"]})
    assert told["links"] == "done" and "hole" not in told
    store, prefix = closed.place.store, attempt_prefix(seen.ref.uid, 1)
    kept = {info.key.removeprefix(prefix): info.size for info in store.list(prefix)}
    files = {name.removeprefix("files/"): size for name, size in kept.items() if name.startswith("files/")}
    assert {"bomb.zip", "bomb.tar.gz", "sub/..evil", "sub/a..b"} <= set(files), (seen, files)
    assert files["bomb.zip"] < 2**20 and files["bomb.tar.gz"] < 2**20, "as they are"
    odd = {"creds", "passwd", "first", "self", "loop", "pipe", "socket", "hole", "sub/link"}
    assert not (odd | {"first-name", "second-name"}) & set(files)
    assert sum(files.values()) <= 64 * 2**20, "holes count as what they become"
    assert not [name for name in files if name.startswith(("orders", "spool", "up", "root")) or ".." in name.split("/")]
    stolen = re.compile(rb"(?i)x-amz-signature|root:x:0|TRAINJOB_ORDERS|\"policy\"")
    for name, size in kept.items():
        if size < 2**20:
            assert not stolen.search(store.get(prefix + name)), name
    [skipped] = [one["message"] for one in seen.conditions if one["type"] == "OutputsComplete"]
    assert "Not kept" in skipped, seen.conditions


async def test_forged_reports_are_claims_of_their_own_job_and_no_more(closed: Room) -> None:
    place = closed.place
    asked = {"timeLimitSeconds": 120, "resources": SMALL}
    honest = await place.begin(attacks.code("forged", liar=False), **asked)
    liar = await place.begin(attacks.code("forged", liar=True), **asked)
    seen = await place.until(honest, "ended", seconds=240)
    assert seen.claims["end"]["outcome"] == "error" and seen.claims["end"]["error"]["ename"] == "ValueError"
    assert "limit" not in seen.evidence and seen.evidence["exitCode"] == 0, seen
    assert seen.claims["progress"]["fraction"] in (0.75, 1.0) and len(seen.claims["progress"]["message"]) <= 500
    assert (
        seen.started
        and seen.ended
        and seen.started.year > 2000
        and 0 < (seen.ended - seen.started).total_seconds() < 120
    )
    assert seen.usage["peakMemoryBytes"] < 2**30 and seen.usage["cpuSeconds"] < 1000
    log = await place.log(honest)
    assert attacks.told(log).keys() == {"forged"} and b"not mine" not in log and seen.log_complete, (log, seen)
    assert b"as it is" in log
    seen = await place.until(liar, "ended", seconds=240)
    assert (seen.ended - seen.started).total_seconds() < 60, "who says the end is over ends"
    log = await place.log(liar)
    assert attacks.told(log).keys() == {"forged", "liar"} and b"not mine" not in log and seen.log_complete, (log, seen)
    assert seen.usage["peakMemoryBytes"] < 2**30


# Floods

FORK = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
THREADS = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=[600]).start()"
MEMORY = "held = []\nwhile True: held.append(bytearray(8 << 20))"
DISK = "import os\nwith open('flood', 'wb', buffering=0) as file:\n    while file.write(bytes(1 << 20)): pass"
LOG = "import os\nfor n in range(400): print(f'{n:06d} ' + 'x' * 131000)"
STUBBORN = """
import signal, time, threading
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    try: time.sleep(1)
    except BaseException: pass
"""
BYSTANDER = "import time\nfor n in range(150):\n    print('line', n, flush=True)\n    time.sleep(0.1)"
LIMITS = {FORK: "ProcessLimit", THREADS: "ProcessLimit", MEMORY: "OutOfMemory", DISK: "DiskLimit"}


async def test_floods_drown_their_own_job_alone_and_are_told_by_name(closed: Room) -> None:
    place = closed.place
    bystander = await place.begin(BYSTANDER, timeLimitSeconds=250, resources=SMALL)
    await place.log_holds(bystander, b"line 0\n")
    floods = {
        limit_of: await place.begin(limit_of, timeLimitSeconds=200, resources=SMALL) for limit_of in (*LIMITS, LOG)
    }
    for code, limit in LIMITS.items():
        seen = await place.until(floods[code], "ended", seconds=280)
        assert seen.evidence.get("limit") == limit, (code, seen)
        assert seen.evidence["message"], seen
    seen = await place.until(floods[LOG], "ended", seconds=280)
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_size == 400 * 131008, seen
    reader = LogReader(place.store, attempt_prefix(seen.ref.uid, 1))
    head = await asyncio.to_thread(reader.read, 0, 2**21)
    tail = await asyncio.to_thread(reader.read, head.next_offset, 2**21)
    assert head.data.startswith(b"000000 x") and tail.data.endswith(b"x\n") and tail.next_offset == seen.log_size
    assert seen.log_gap == (head.next_offset, tail.offset) and len(head.data) + len(tail.data) <= 2**20 + 2**18, seen
    assert [one["reason"] for one in seen.conditions if one["type"] == "LogComplete"] == ["Capped"]
    stored = sum(info.size for info in place.store.list(f"{attempt_prefix(seen.ref.uid, 1)}log"))
    assert stored <= 2**20 + 2**18, "what the cap left out is gone"
    seen = await place.until(bystander, "ended", seconds=120)
    assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete
    assert await place.log(bystander) == b"".join(b"line %d\n" % n for n in range(150))


@pytest.mark.parametrize("how", ["cancel", "limit"])
async def test_code_that_hears_no_signal_is_ended_all_the_same(closed: Room, how: str) -> None:
    place = closed.place
    ref: AttemptRef = await place.begin(STUBBORN, timeLimitSeconds=600 if how == "cancel" else 3, resources=SMALL)
    await place.log_holds(ref, b"deaf\n")
    if how == "cancel":
        await place.backend.cancel(ref, "I said so")
    seen = await place.until(ref, "ended", seconds=120)
    assert await place.log(ref) == b"deaf\n" and seen.log_complete
    if how == "cancel":
        assert seen.evidence["cancelled"] == "I said so" and "limit" not in seen.evidence
    else:
        assert seen.evidence["limit"] == "TimeLimit"
