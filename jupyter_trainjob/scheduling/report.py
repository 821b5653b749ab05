"""What a replay says: waiting, utilisation, fairness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .model import QueueView
from .simulate import Ran, Simulated


def jain(values: Sequence[float]) -> float:
    """Jain's index: (Σx)² / (n · Σx²); 1 where all have the same, 1/n where one has all.

    R. Jain, D. Chiu, W. Hawe, "A quantitative measure of fairness" (1984).
    """
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else 1.0


def targets(users: Sequence[tuple[str, str]], queues: Mapping[str, QueueView]) -> dict[tuple[str, str], float]:
    """What each user is due: down the tree, weight over the weights of all siblings that have jobs."""
    below: dict[str, dict[tuple[str, str], int]] = {}
    for queue, owner in users:
        below.setdefault(queue, {})[queue, owner] = queues[queue].shares.get(owner, 1)
        while queue in queues:
            parent = queues[queue].parent if queues[queue].parent in queues else ""
            if (queue, "") in below.setdefault(parent, {}):
                break
            below[parent][queue, ""] = queues[queue].weight
            queue = parent
    found: dict[tuple[str, str], float] = {}
    level = [("", 1.0)]
    while level:
        name, due = level.pop()
        siblings = below.get(name, {})
        for (queue, owner), weight in siblings.items():
            part = due * weight / sum(siblings.values())
            if owner:
                found[queue, owner] = part
            else:
                level.append((queue, part))
    return found


def report(result: Simulated, queues: Mapping[str, QueueView]) -> dict[str, Any]:
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
        "fairness": _fairness(result, queues),
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


def _fairness(result: Simulated, queues: Mapping[str, QueueView]) -> dict[str, Any]:
    """Of the CPU time while jobs waited: each user's part beside what the weights say. Who asks for less has less."""
    total = math.fsum(result.service.values())
    due = targets(sorted({(one.queue, one.owner) for one in result.jobs}), queues)
    shares = {leaf: result.service.get(leaf, 0.0) / total if total else 0.0 for leaf in due}
    index = jain([shares[leaf] / due[leaf] for leaf in due]) if total else 1.0
    rows = [
        {"queue": queue, "user": owner, "share": shares[queue, owner], "target": due[queue, owner]}
        for queue, owner in sorted(due)
    ]
    return {"jain": index, "shares": rows}
