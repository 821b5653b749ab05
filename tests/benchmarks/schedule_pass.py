"""What a decision costs: (a) one pass over a whole queue, (b) slot by slot, (c) with every user's first job blocked.

CPU time of this process alone. Each is measured with all policies on: a tree of four levels with weights, guarantees
that are reclaimed, limits of queues and users, budgets, decayed usage, ageing, gangs and backfill.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jupyter_trainjob.scheduling.decide import decide
from jupyter_trainjob.scheduling.decide import run as decide_on
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.model import (
    ActiveView,
    Amount,
    Budget,
    Ceiling,
    NodeView,
    PodView,
    QueuedView,
    QueueView,
    Snapshot,
)

from .stats import median

GIB = 2**30
NOW = 1_000_000.0
NODES, NODE_CPUS = 64, 32
RUNNING = 1000


def tree(queues: int) -> dict[str, QueueView]:
    """The cohort, ten courses, and groups below them: ``queues`` in all."""
    found = {"cohort": QueueView("cohort", "k")}
    for number in range(10):
        found[f"course{number}"] = QueueView(
            f"course{number}",
            "k",
            limits=Ceiling(cpu_millis=300_000),
            parent="cohort",
            weight=1 + number % 3,
            guaranteed=Ceiling(cpu_millis=100_000),
            reclaim=True,
        )
    for number in range(queues - 11):
        found[f"group{number}"] = QueueView(
            f"group{number}",
            "k",
            limits=Ceiling(jobs=500),
            per_user=Ceiling(jobs=100),
            parent=f"course{number % 10}",
            weight=1 + number % 2,
            budget=Budget(10**13, 7 * 86400),
        )
    return found


def nodes() -> tuple[NodeView, ...]:
    """64 nodes of 32 CPUs."""
    return tuple(
        NodeView("k", f"n{number:02}", Amount(0, NODE_CPUS * 1000, 4 * NODE_CPUS * GIB)) for number in range(NODES)
    )


def job(uid: str, owner: int, groups: int, since: float, chance: random.Random, cpus: int = 0) -> QueuedView:
    """A user is in one group, and asks for the same few things again and again."""
    kind = owner % 5
    cpus = cpus or (1, 2, 2, 4, 8)[kind]
    pods: tuple[PodView, ...] = ()
    if chance.random() < 0.02:
        pods, cpus = (PodView(2, Amount(0, cpus * 1000, 4 * cpus * GIB)),), 2 * cpus
    return QueuedView(
        uid,
        f"user{owner}",
        f"group{owner % groups}",
        Amount(1, cpus * 1000, 4 * cpus * GIB),
        since,
        1 if chance.random() < 0.02 else 0,
        (600, 3600, 14400)[(owner // 5) % 3],
        "",
        pods,
        owner % 3 == 0,
    )


def snapshot(queued: int, users: int, queues: int = 500) -> Snapshot:
    """1,000 running jobs on full nodes, and ``queued`` waiting ones."""
    chance = random.Random(queued)
    groups = queues - 11
    waiting = tuple(
        job(f"j{number}", chance.randrange(users), groups, NOW - chance.random() * 20_000, chance)
        for number in range(queued)
    )
    active, free = [], [NODE_CPUS] * NODES
    for number in range(RUNNING):
        # The next node in turn, full at the end: those on the last round take what is left.
        place, round_ = number % NODES, number // NODES
        cpus = max(1, free[place] // max(1, RUNNING // NODES + 1 - round_))
        if free[place] < cpus:
            continue
        free[place] -= cpus
        owner = chance.randrange(users)
        active.append(
            ActiveView(
                f"r{number}", f"user{owner}", f"group{owner % groups}", "k", f"n{place:02}",
                Amount(1, cpus * 1000, 4 * cpus * GIB), NOW - chance.random() * 3000, 3600, preemptible=owner % 3 == 0,
            )
        )  # fmt: skip
    return Snapshot(1, tree(queues), nodes(), waiting, tuple(active), NOW)


def cpu(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU, and what came out."""
    gc.collect()
    began = time.process_time()
    answer = action()
    return time.process_time() - began, answer


def whole_pass(queued: int, rounds: int) -> tuple[float, float]:
    """One pass from a fresh snapshot, and one on the index that is kept, after one job ended."""
    fresh, kept = [], []
    for _ in range(rounds):
        view = snapshot(queued, max(50, queued // 20))
        fresh.append(cpu(lambda view=view: decide(view))[0])  # type: ignore[misc]
        engine = Engine(view)
        decide_on(engine)
        engine.advance(NOW + 10)
        engine.end(next(iter(engine.active)), NOW + 10)
        kept.append(cpu(lambda engine=engine: decide_on(engine))[0])  # type: ignore[misc]
    return min(fresh), median(kept, 6)


def slot_by_slot(queued: int, users: int, steps: int, blocked: bool = False, memories: int = 0) -> float:
    """Admissions per CPU-second, one running job ending at a time, a second after the other.

    ``blocked``: each user's first job asks for a whole node: one of them has a reservation, the others wait behind it.
    ``memories``: each job of one pod asks for up to so many MiB more, as it comes: some four times so many needs.
    """
    view = snapshot(queued, users)
    if memories:
        some = random.Random(7)
        view = replace(view, queued=tuple(_more(one, some.randrange(memories) * 2**20) for one in view.queued))
    if blocked:
        chance = random.Random(1)
        first = tuple(job(f"first{owner}", owner, 489, NOW - 30_000, chance, cpus=NODE_CPUS) for owner in range(users))
        view = Snapshot(1, view.queues, view.nodes, (*view.queued, *first), view.active, NOW)
    engine, chance = Engine(view), random.Random(3)
    decide_on(engine)
    running = list(engine.active)
    gc.collect()
    gc.freeze()

    def step() -> int:
        place = chance.randrange(len(running))
        running[place], running[-1] = running[-1], running[place]
        engine.advance(engine.now + 1)
        engine.end(running.pop(), engine.now)
        decision = decide_on(engine)
        running.extend(admission.uid for admission in decision.admissions)
        for preemption in decision.preemptions:
            engine.end(preemption.uid, engine.now)
            running.remove(preemption.uid)
        return len(decision.admissions)

    for _ in range(steps // 5):
        step()
    took, admitted = cpu(lambda: sum(step() for _ in range(steps)))
    gc.unfreeze()
    return float(admitted / took)


def _more(job: QueuedView, memory_bytes: int) -> QueuedView:
    return job if job.pods else replace(job, need=job.need + Amount(0, 0, memory_bytes))


def run(*, quick: bool = False) -> dict[str, Any]:
    """All three."""
    rounds, most, steps = (1, 100_000, 1000) if quick else (3, 1_000_000, 10_000)
    passes = {count: whole_pass(count, rounds) for count in (1000, 10_000, 100_000)}
    growth = passes[100_000][0] / passes[10_000][0]
    single = slot_by_slot(most, 5000, steps)
    few, many = (slot_by_slot(most // 10, users, steps, blocked=True) for users in (50, 5000))
    needs = {count: slot_by_slot(10_000, 500, 500, memories=count) for count in (0, 200, 2000)}
    figures: dict[str, Any] = {"benchmark": "schedule_pass", "queues": 500, "running": RUNNING}
    for count, (fresh, kept) in passes.items():
        figures[f"pass_{count}_cpu_ms"] = round(fresh * 1000, 1)
        figures[f"pass_{count}_kept_index_cpu_ms"] = round(kept * 1000, 3)
    figures |= {
        "growth_10000_to_100000_ratio": round(growth, 1),
        "queued": most,
        "admissions_per_cpu_s": round(single),
        "blocked_heads_50_users_admissions_per_cpu_s": round(few),
        "blocked_heads_5000_users_admissions_per_cpu_s": round(many),
        "blocked_heads_slower_ratio": round(few / many, 2),
        "10000_queued_8_needs_admissions_per_cpu_s": round(needs[0]),
        "10000_queued_800_needs_admissions_per_cpu_s": round(needs[200]),
        "10000_queued_5500_needs_admissions_per_cpu_s": round(needs[2000]),
        "python_loop_ns": round(_speed(), 1),
    }
    n_log_n = 10 * math.log(100_000) / math.log(10_000)
    good = (
        passes[10_000][0] <= 0.05
        and passes[100_000][0] <= 0.5
        and growth <= 1.25 * n_log_n
        and single >= 10_000
        and few / many <= 2
    )
    return {**figures, "pass": good}


def _speed() -> float:
    """How fast this machine is now: a turn of an empty loop."""
    began = time.process_time()
    for _ in range(10_000_000):
        pass
    return (time.process_time() - began) / 1e7 * 1e9
