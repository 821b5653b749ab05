"""What a replay says: waiting, utilisation, fairness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .simulate import Ran, Simulated


def jain(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Jain's index: (Σx)² / (n · Σx²); 1 where all have the same, 1/n where one has all.

    With weights each value counts so often. R. Jain, D. Chiu, W. Hawe, "A quantitative measure of fairness" (1984).
    """
    often = weights if weights is not None else [1.0] * len(values)
    total = math.fsum(weight * value for weight, value in zip(often, values, strict=True))
    squares = math.fsum(weight * value * value for weight, value in zip(often, values, strict=True))
    return total**2 / (math.fsum(often) * squares) if squares else 1.0


def report(result: Simulated) -> dict[str, Any]:
    """Everything as JSON values: seconds, parts of 1."""
    ended = [one for one in result.jobs if one.start is not None]
    first = min((one.submit for one in result.jobs), default=0.0)
    last = max((one.end for one in ended if one.end is not None), default=first)
    used = math.fsum(one.cpu_millis * one.busy_seconds for one in ended)
    whole = result.cpu_millis * (last - first)
    return {
        "jobs": len(result.jobs),
        "neverStarted": len(result.jobs) - len(ended),
        "preemptions": sum(one.preempted for one in result.jobs),
        "makespanSeconds": last - first,
        "contendedSeconds": result.contended_seconds,
        "passes": result.passes,
        "utilisation": used / whole if whole else 0.0,
        "waitSeconds": _waits(ended),
        "queues": {name: _waits(ones) for name, ones in _grouped(ended, lambda one: one.queue).items()},
        "users": {name: _waits(ones) for name, ones in _grouped(ended, lambda one: one.owner).items()},
        "fairness": _fairness(result),
    }


def _begun(one: Ran) -> float:
    return one.start if one.start is not None else one.submit


def _grouped(jobs: Sequence[Ran], key: Any) -> dict[str, list[Ran]]:
    found: dict[str, list[Ran]] = {}
    for one in jobs:
        found.setdefault(key(one), []).append(one)
    return dict(sorted(found.items()))


def _waits(jobs: Sequence[Ran]) -> dict[str, float]:
    waits = sorted(_begun(one) - one.submit for one in jobs)
    if not waits:
        return {"jobs": 0, "mean": 0.0, "p50": 0.0, "p95": 0.0, "max": 0.0}
    return {
        "jobs": len(waits),
        "mean": math.fsum(waits) / len(waits),
        "p50": _percentile(waits, 50),
        "p95": _percentile(waits, 95),
        "max": waits[-1],
    }


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank."""
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


def _fairness(result: Simulated) -> dict[str, Any]:
    """Of the CPU time of each user while jobs of that user waited: beside what the weights gave, against all who
    waited then.
    """
    had, due = math.fsum(result.service.values()), math.fsum(result.due.values())
    if not had:
        return {"jain": 1.0, "shares": []}
    rows = [
        {"queue": queue, "user": owner, "share": result.service[queue, owner] / had, "target": part / due}
        for (queue, owner), part in sorted(result.due.items())
        if part
    ]
    # Who waited for a moment only counts for as little: a ratio of two small numbers says nothing.
    dues = {leaf: part for leaf, part in result.due.items() if part}
    index = jain([result.service[leaf] / part for leaf, part in dues.items()], list(dues.values()))
    return {"jain": index, "shares": rows}
