"""When a waiting job would start at the latest, if nothing new came before it.

Replays the decision forward, every job ending at its time limit: an upper bound as long as nobody with a better rank
joins (that is what people plan with; a mean of past runs would be wrong half of the time).
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from .decide import run
from .engine import Engine
from .model import Snapshot

MAX_STEPS = 400
MAX_STARTS = 1000


def latest_starts(snapshot: Snapshot, now: float) -> dict[str, float]:
    """Start times in seconds of the epoch by uid, of what starts within :data:`MAX_STEPS` endings and is among the
    first :data:`MAX_STARTS` to start. What waits for no time, behind a gate or in a paused queue, is absent.
    """
    engine = Engine(replace(snapshot, now=now))
    starts: dict[str, float] = {}
    ends = [(max(now, active.end), uid) for uid, active in engine.active.items() if not active.view.waits]
    heapq.heapify(ends)
    for _ in range(MAX_STEPS):
        for admission in run(engine).admissions:
            if admission.node:
                starts[admission.uid] = engine.now
                heapq.heappush(ends, (engine.active[admission.uid].end, admission.uid))
        if not engine.jobs or not ends or len(starts) >= MAX_STARTS:
            break
        time = ends[0][0]
        engine.advance(time)
        while ends and ends[0][0] <= time:
            engine.end(heapq.heappop(ends)[1], time)
    return starts


def further_starts(starts: dict[str, float], waiting: list[str], now: float) -> dict[str, float]:
    """For those of ``waiting`` (by place) that a replay did not reach: as if the rest went on at its pace.

    An estimate, no bound. Nothing where nothing was seen to start later than ``now``.
    """
    last = max(starts.values(), default=now)
    later = sum(1 for start in starts.values() if start > now)
    if not later or last <= now:
        return {}
    pace = (last - now) / later
    missing = [uid for uid in waiting if uid not in starts]
    return {uid: last + pace * number for number, uid in enumerate(missing, 1)}
