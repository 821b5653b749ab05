"""What the record says happened, instant by instant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from jupyter_trainjob.controllers.snapshot import need_of
from jupyter_trainjob.resources.queue import Budget
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.scheduling.model import Amount
from jupyter_trainjob.store import Store


def versions(store: Store) -> Iterator[TrainJob]:
    """Every version of every job, in turn."""
    since = 0
    while True:
        page = store.read(lambda reader, since=since: reader.changes(since, limit=500))  # type: ignore[misc]
        for change in page.changes:
            if isinstance(change.resource, TrainJob):
                yield change.resource
        if page.version == since:
            return
        since = page.version


class Most(NamedTuple):
    """The most that was held at the same instant, and spent of a budget in one window (CPU-seconds)."""

    jobs: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0
    spent: float = 0.0


def most_at_once(store: Store, window_seconds: int = 60) -> Most:
    """Over all instants of the record. What runs counts with its whole time limit in the window of its admission."""
    active: dict[str, Amount] = {}
    costs: dict[tuple[str, int], tuple[int, float]] = {}
    spent: dict[int, float] = {}
    most = Most()
    for job in versions(store):
        need = need_of(job)
        active.pop(job.metadata.uid, None)
        if job.status.phase in (Phase.ADMITTED, Phase.RUNNING):
            active[job.metadata.uid] = need
        for attempt in job.status.attempts:
            assert attempt.admitted is not None
            limit = float(job.spec.time_limit_seconds or 0)
            took = limit if attempt.end is None else (attempt.end - attempt.admitted).total_seconds()
            window = math.floor(attempt.admitted.timestamp() / window_seconds)
            before = costs.get((job.metadata.uid, attempt.number), (window, 0.0))[1]
            cost = need.cpu_millis / 1000 * max(0.0, min(took, limit))
            costs[job.metadata.uid, attempt.number] = (window, cost)
            spent[window] = spent.get(window, 0.0) + cost - before
        held = sum(active.values(), Amount())
        now = Most(held.jobs, held.cpu_millis, held.memory_bytes, max(spent.values(), default=0.0))
        most = Most(*(max(one, other) for one, other in zip(most, now, strict=True)))
    return most


LIMITS: dict[str, Any] = {"running_jobs": 4, "cpu": "6", "memory": "6Gi"}
BUDGET = Budget(core_hours=0.1, window_seconds=60)


def stays_within(most: Most, jobs: int) -> bool:
    """:data:`LIMITS` with ``jobs`` at once, and :data:`BUDGET`."""
    return (
        most.jobs <= jobs
        and most.cpu_millis <= 6000
        and most.memory_bytes <= 6 * 2**30
        and most.spent <= BUDGET.core_hours * 3600 + 1e-3
    )


def of_some_size(job: TrainJob, number: int) -> TrainJob:
    """One or two CPUs, one or two GiB: each limit is the one that stops some."""
    job.spec.resources.cpu, job.spec.resources.memory = str(1 + number % 2), f"{1 + number // 2 % 2}Gi"
    return job
