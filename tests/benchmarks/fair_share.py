"""Three users with weights 1, 2 and 3 and endless jobs: the parts of CPU time that they get."""

from __future__ import annotations

import heapq
import random
from typing import Any

from jupyter_trainjob.scheduling.decide import run as decide_on
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.model import Amount, NodeView, QueuedView, QueueView, Snapshot

WEIGHTS = {"ada": 1, "bob": 2, "eve": 3}
CPUS = 12


def shares(jobs: int, seed: int) -> dict[str, float]:
    """Each user's part of the CPU time after so many jobs ended. Jobs differ in size and length; each user always has
    some of every kind waiting.
    """
    chance, serial = random.Random(seed), 0
    queue = QueueView("q", "k", shares=WEIGHTS)
    nodes = (NodeView("k", "n", Amount(0, CPUS * 1000)),)
    engine = Engine(Snapshot(0, {"q": queue}, nodes, (), (), 0.0))
    lengths: dict[str, float] = {}
    ends: list[tuple[float, str, str, int]] = []
    used = dict.fromkeys(WEIGHTS, 0.0)

    def add(owner: str, kind: int) -> None:
        nonlocal serial
        serial += 1
        uid = f"{owner}-{kind}-{serial}"
        lengths[uid] = chance.uniform(300, 5400)
        engine.submit(QueuedView(uid, owner, "q", Amount(1, (1000, 1000, 2000)[kind]), engine.now, 0, 7200))

    for owner in WEIGHTS:
        for kind in (0, 1, 2) * 8:
            add(owner, kind)
    while jobs:
        for admission in decide_on(engine).admissions:
            owner, kind, _ = admission.uid.split("-")
            heapq.heappush(ends, (engine.now + lengths[admission.uid], admission.uid, owner, int(kind)))
            add(owner, int(kind))
        time, uid, owner, kind = heapq.heappop(ends)
        engine.advance(time)
        engine.end(uid, time)
        used[owner] += lengths[uid] * (1, 1, 2)[kind]
        jobs -= 1
    return {owner: part / sum(used.values()) for owner, part in used.items()}


def run(*, quick: bool = False) -> dict[str, Any]:
    """The largest error of five runs, as a part of the share that the weights say."""
    total = sum(WEIGHTS.values())
    found = [shares(1000, seed) for seed in range(1 if quick else 5)]
    error = max(abs(one[owner] * total / weight - 1) for one in found for owner, weight in WEIGHTS.items())
    return {
        "benchmark": "fair_share",
        "jobs": 1000,
        "rounds": len(found),
        **{f"share_{owner}_ratio": round(found[0][owner], 4) for owner in WEIGHTS},
        "error_max_ratio": round(error, 4),
        "pass": error <= 0.03,
    }
