"""The words for waiting: position, what for, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .decide import decide, rank
from .estimate import MAX_STARTS, further_starts, latest_starts
from .model import UNLIMITED, Blocker, QueuedView, QueueView, Snapshot, Waiting
from .words import duration

HOPELESS = ("paused", "missing", "gate", "kueue")
"""Scopes of blockers that no time takes away by itself."""
ROOM = ("node", "order")


@dataclass(frozen=True)
class Explanation:
    """Why a job waits. All empty for one that does not wait."""

    position: int | None = None
    """In its queue, from 1; None while something keeps it from queueing."""
    waiting_for: str = ""
    """One sentence."""
    estimated_start: datetime | None = None
    """At the latest, if nobody with a higher priority comes; far down a long queue only an estimate, by the pace of
    those before it. None where nothing can be said.
    """
    blockers: list[dict[str, Any]] = field(default_factory=list)


def explain_all(snapshot: Snapshot, now: float) -> Mapping[str, Explanation]:
    """An explanation for every queued job of the snapshot, by uid. ``now`` in seconds of the epoch."""
    decision = decide(replace(snapshot, now=now))
    starts = latest_starts(snapshot, now)
    hopeful = [one.uid for one in decision.waiting if one.position is not None and one.blocker.scope not in HOPELESS]
    if len(starts) >= MAX_STARTS or len(hopeful) > MAX_STARTS:
        starts = {**further_starts(starts, hopeful, now), **starts}
    queues = {job.uid: snapshot.queues.get(job.queue) for job in snapshot.queued}
    told = {admission.uid: _about_to_go(queues[admission.uid]) for admission in decision.admissions}
    for waiting in decision.waiting:
        told[waiting.uid] = _explain(waiting, starts.get(waiting.uid), now)
    return told


def explain_one(snapshot: Snapshot, job: QueuedView, now: float) -> Explanation:
    """The explanation for a job that may not be in the snapshot yet (a dry run).

    Without an estimate behind a long queue: the replay that it takes would be for this one alone. There see
    :func:`behind`.
    """
    others = tuple(other for other in snapshot.queued if other.uid != job.uid)
    snapshot = replace(snapshot, queued=(*others, job), now=now)
    decision = decide(snapshot)
    waiting = next((one for one in decision.waiting if one.uid == job.uid), None)
    if waiting is None:
        return _about_to_go(snapshot.queues.get(job.queue))
    start = None
    if len(others) < MAX_STARTS and waiting.position is not None and waiting.blocker.scope not in HOPELESS:
        start = latest_starts(snapshot, now).get(job.uid)
    return _explain(waiting, start, now)


def lacks_estimate(snapshot: Snapshot, job: QueuedView, found: Explanation) -> bool:
    """Whether ``found``, of a job that is not in the snapshot, has no estimate only because the queue is long.

    Below a budget it has none: when that is spent, those that are not below it go on and the job does not.
    """
    if found.estimated_start is not None or found.position is None or len(snapshot.queued) < MAX_STARTS:
        return False
    return _bound_by(found.blockers[0], job.owner) is not None and not _below_budget(snapshot.queues, job)


def _below_budget(queues: Mapping[str, QueueView], job: QueuedView) -> bool:
    view, seen = queues.get(job.queue), set()
    if view is not None and view.per_user_budget is not None and not job.owner.endswith(UNLIMITED):
        return True
    while view is not None and view.name not in seen:
        if view.budget is not None:
            return True
        seen.add(view.name)
        view = queues.get(view.parent)
    return False


def behind(
    snapshot: Snapshot, job: QueuedView, found: Explanation, told: Mapping[str, Explanation], now: float
) -> Explanation:
    """``found``, with the start that the pace of those before it promises, of which all is ``told``: as they, the job
    is bound by the limit of its owner, or by that of the queue, or by the nodes. Without, where there are none.
    """
    assert found.position is not None
    bound = _bound_by(found.blockers[0], job.owner)
    starts = {}
    for other in snapshot.queued:
        one = told.get(other.uid)
        if other.queue != job.queue or one is None or one.estimated_start is None or one.position is None:
            continue
        if one.position < found.position and _bound_by(one.blockers[0], other.owner) == bound:
            starts[other.uid] = one.estimated_start.timestamp()
    start = further_starts(starts, [job.uid], now).get(job.uid)
    if start is None:
        return found
    sentence = f"{found.waiting_for.removesuffix('.')}; at the latest in about {duration(start - now)}."
    return replace(found, waiting_for=sentence, estimated_start=datetime.fromtimestamp(start, timezone.utc))


def _bound_by(blocker: Mapping[str, str], owner: str) -> tuple[str, str] | None:
    """What goes on for all who are bound by the same; None for what has its own time, or none."""
    scope = blocker["scope"]
    if scope in HOPELESS or blocker["limit"] == "budget":
        return None
    return ("room", "") if scope in ROOM else (scope, owner if scope == "user" else blocker["queue"])


def position_of(snapshot: Snapshot, job: QueuedView) -> int | None:
    """Where ``job`` stands in its queue, from 1, without deciding anything; None behind a gate."""
    if job.gate:
        return None
    mine = rank(job)
    return 1 + sum(1 for other in snapshot.queued if other.queue == job.queue and not other.gate and rank(other) < mine)


def explain_elsewhere(queue: str, position: int | None, message: str) -> Explanation:
    """For a job that Kueue has: in its words, without a full stop. ``position`` as Kueue tells it, from 1."""
    blocker = Blocker("kueue", "kueue", queue, message=message)
    return _sentence(position, [message], None, blocker)


def _about_to_go(queue: QueueView | None) -> Explanation:
    if queue is not None and queue.elsewhere:
        return Explanation(None, "It is about to be handed to Kueue.")
    return Explanation(1, "It is about to start.")


def _explain(waiting: Waiting, start: float | None, now: float) -> Explanation:
    parts = [waiting.blocker.message]
    if start is not None:
        parts.append(f"at the latest in about {duration(start - now)}")
    return _sentence(waiting.position, parts, start, waiting.blocker)


def _sentence(position: int | None, parts: list[str], start: float | None, blocker: Blocker) -> Explanation:
    if position is not None and position > 1:
        parts.insert(1, "1 job is ahead" if position == 2 else f"{position - 1} jobs are ahead")
    sentence = "; ".join(parts)
    return Explanation(
        position,
        sentence[:1].upper() + sentence[1:] + ".",
        datetime.fromtimestamp(start, timezone.utc) if start is not None else None,
        [blocker.to_dict()],
    )
