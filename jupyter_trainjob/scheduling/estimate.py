"""When a waiting job would start at the latest, if nothing new came before it.

Replays :func:`.decide.decide` forward, every job ending at its time limit: an upper bound as long as nobody with a
higher priority joins (that is what people plan with; a mean of past runs would be wrong half of the time).
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from .decide import decide, order
from .model import ActiveView, Snapshot

MAX_STEPS = 200
MAX_JOBS = 200


def latest_starts(snapshot: Snapshot, now: float) -> dict[str, float]:
    """Start times in seconds of the epoch by uid; those behind the first :data:`MAX_JOBS`, beyond
    :data:`MAX_STEPS` endings ahead, or stuck, are absent."""
    starts: dict[str, float] = {}
    # An estimate further out than these is a guess, and every step looks at all that are here.
    ahead = [job for job in order(snapshot.queued) if not job.gate and not _elsewhere(snapshot, job.queue)][:MAX_JOBS]
    snapshot = replace(snapshot, queued=tuple(ahead))
    running = [active for active in snapshot.active if not active.waits]
    ends = [(max(now, active.since + active.time_limit_seconds), active.uid) for active in running]
    heapq.heapify(ends)
    time = now
    for _ in range(MAX_STEPS):
        decision = decide(snapshot)
        jobs = {job.uid: job for job in snapshot.queued}
        begun = []
        for admission in decision.admissions:
            job = jobs.pop(admission.uid)
            starts[job.uid] = time
            heapq.heappush(ends, (time + job.time_limit_seconds, job.uid))
            backend = snapshot.queues[job.queue].backend
            begun.append(
                ActiveView(
                    job.uid, job.owner, job.queue, backend, admission.node, job.need, time, job.time_limit_seconds
                )
            )
        if not jobs or not ends:
            break
        time = ends[0][0]
        over = set()
        while ends and ends[0][0] <= time:
            over.add(heapq.heappop(ends)[1])
        active = tuple(item for item in (*snapshot.active, *begun) if item.uid not in over)
        snapshot = replace(snapshot, queued=tuple(jobs.values()), active=active)
    return starts


def _elsewhere(snapshot: Snapshot, queue: str) -> bool:
    """Whether nothing can be told here of when jobs of ``queue`` start."""
    known = snapshot.queues.get(queue)
    return known is not None and known.elsewhere
