"""The words for waiting: position, what for, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .decide import decide, rank
from .estimate import latest_starts
from .model import QueuedView, Snapshot, Waiting


@dataclass(frozen=True)
class Explanation:
    """Why a job waits. All empty for one that does not wait."""

    position: int | None = None
    """In its queue, from 1; None while something keeps it from queueing."""
    waiting_for: str = ""
    """One sentence."""
    estimated_start: datetime | None = None
    """At the latest, if nobody with a higher priority comes; None where nothing can be said."""
    blockers: list[dict[str, Any]] = field(default_factory=list)


def explain_all(snapshot: Snapshot, now: float) -> Mapping[str, Explanation]:
    """An explanation for every queued job of the snapshot, by uid. ``now`` in seconds of the epoch."""
    decision = decide(snapshot)
    starts = latest_starts(snapshot, now)
    told = {admission.uid: Explanation(1, "It is about to start.") for admission in decision.admissions}
    for waiting in decision.waiting:
        told[waiting.uid] = _explain(waiting, starts.get(waiting.uid), now)
    return told


def explain_one(snapshot: Snapshot, job: QueuedView, now: float) -> Explanation:
    """The explanation for a job that may not be in the snapshot yet (a dry run)."""
    others = tuple(other for other in snapshot.queued if other.uid != job.uid)
    return explain_all(replace(snapshot, queued=(*others, job)), now)[job.uid]


def position_of(snapshot: Snapshot, job: QueuedView) -> int | None:
    """Where ``job`` stands in its queue, from 1, without deciding anything; None behind a gate."""
    if job.gate:
        return None
    mine = rank(job)
    return 1 + sum(1 for other in snapshot.queued if other.queue == job.queue and not other.gate and rank(other) < mine)


def _explain(waiting: Waiting, start: float | None, now: float) -> Explanation:
    parts = [waiting.blocker.message]
    if waiting.position is not None and waiting.position > 1:
        ahead = waiting.position - 1
        parts.append("1 job is ahead" if ahead == 1 else f"{ahead} jobs are ahead")
    if start is not None:
        parts.append(f"at the latest in about {duration(start - now)}")
    sentence = "; ".join(parts)
    return Explanation(
        waiting.position,
        sentence[:1].upper() + sentence[1:] + ".",
        datetime.fromtimestamp(start, timezone.utc) if start is not None else None,
        [waiting.blocker.to_dict()],
    )


def duration(seconds: float) -> str:
    """A span for a person: ``45 s``, ``6 min``, ``2 h``, ``3 d``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} d"
