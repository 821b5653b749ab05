"""A trace of 100,000 jobs, replayed against a tree of queues: read, checked, run and reported."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from jupyter_trainjob.scheduling.model import Amount, Ceiling, NodeView, QueueView
from jupyter_trainjob.scheduling.report import report
from jupyter_trainjob.scheduling.simulate import simulate, workload
from jupyter_trainjob.scheduling.swf import read_trace

PROCESSORS = 512


def trace(count: int) -> Iterator[str]:
    """Jobs as in the archive's logs: sizes in powers of two, lengths log-normal, time limits rounded up by far."""
    chance, submit = random.Random(7), 0.0
    yield f"; MaxProcs: {PROCESSORS}"
    for number in range(1, count + 1):
        processors = chance.choice([1, 1, 1, 1, 2, 2, 4, 8, 16, 32, 64])
        seconds = min(86_400, 1 + int(chance.lognormvariate(6.5, 1.5)))
        limit = next(limit for limit in (600, 3600, 14_400, 43_200, 86_400) if seconds <= limit)
        submit += chance.expovariate(1 / 52)
        user = int(chance.paretovariate(1)) % 300
        asked = f"{processors} {limit} -1"
        yield f"{number} {submit:.0f} -1 {seconds} {processors} -1 -1 {asked} 1 {user} 1 -1 {user % 8} -1 -1 -1"


def queues() -> dict[str, QueueView]:
    """A cohort with eight courses."""
    found = {"cohort": QueueView("cohort", "k", limits=Ceiling(cpu_millis=PROCESSORS * 1000))}
    for number in range(8):
        found[f"q{number}"] = QueueView(
            f"q{number}",
            "k",
            per_user=Ceiling(jobs=64),
            parent="cohort",
            weight=1 + number % 3,
            guaranteed=Ceiling(cpu_millis=32_000),
        )
    return found


def run(*, quick: bool = False) -> dict[str, Any]:
    """Once."""
    count = 5000 if quick else 100_000
    lines = list(trace(count))
    began, cpu = time.perf_counter(), time.process_time()
    node = NodeView("k", "n", Amount(0, PROCESSORS * 1000))
    result = simulate(workload(read_trace(lines), queues(), [node]))
    found = report(result)
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    return {
        "benchmark": "simulate",
        "jobs": found["jobs"],
        "wall_s": round(took, 1),
        "cpu_s": round(spent, 1),
        "passes": found["passes"],
        "utilisation_ratio": round(found["utilisation"], 3),
        "wait_mean_s": round(found["waitSeconds"]["mean"]),
        "fairness_jain": round(found["fairness"]["jain"], 3),
        "pass": min(took, spent) < 60 and found["neverStarted"] == 0,
    }
