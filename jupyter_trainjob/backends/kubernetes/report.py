"""One observation of what the kubelet, the sidecar and the harvest told. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..base import AttemptRef, Observation, State
from .evidence import Sight, settle
from .fetching import conditions as fetched
from .harvest import Harvest
from .reading import time

CLOSE_SECONDS = 2.0
"""A clock in the pod that is no further off than this from the kubelet's word, which has whole seconds, refines it."""


def observation(
    ref: AttemptRef,
    job: dict[str, Any],
    sight: Sight,
    state: dict[str, Any],
    harvest: Harvest | None,
    isolation: str,
    trouble: str = "",
    unfetched: str = "",
) -> Observation:
    """``state``: the sidecar's latest word. ``harvest``: None until all of an ended attempt is in the store.

    Until then an attempt whose code has ended still runs: its log and its outputs are on their way.
    """
    if harvest is not None:
        return _ended(ref, job, sight, harvest, isolation)
    started = _started(sight, state)
    now: State = "running" if started is not None and sight.state not in ("queued", "starting") else "starting"
    if sight.state == "queued":
        now = "queued"
    conditions = [*fetched(job, unfetched), *sight.conditions, *state.get("conditions", [])]
    if trouble:
        conditions.append({"type": "StoreReachable", "status": "False", "reason": "Unreachable", "message": trouble})
    told = state.get("log", {})
    return Observation(
        ref,
        now,
        node=sight.node,
        image_digest=sight.image_id,
        isolation=isolation,
        started=started if now == "running" else None,
        usage=state.get("usage", {}),
        log_size=told.get("size", 0),
        log_gap=told.get("gap"),
        log_missing=told.get("missing", 0),
        claims=_runners(state),
        conditions=conditions,
    )


def _ended(ref: AttemptRef, job: dict[str, Any], sight: Sight, harvest: Harvest, isolation: str) -> Observation:
    state = harvest.state
    started = _started(sight, state)
    ended = _refined(sight.ended, time((state.get("main") or {}).get("at")))
    if started is not None and ended is not None:
        ended = max(started, ended)
    return Observation(
        ref,
        "ended",
        node=sight.node,
        image_digest=sight.image_id,
        isolation=isolation,
        started=started,
        ended=ended,
        usage=state.get("usage", {}),
        log_size=harvest.log.size,
        log_complete=harvest.log_complete,
        log_gap=harvest.log.gap,
        log_missing=harvest.log.missing,
        evidence=settle(sight, state or None),
        claims=_runners(state),
        notebook=harvest.notebook,
        files=harvest.files,
        files_total=harvest.files_total,
        files_bytes=harvest.files_bytes,
        conditions=[*fetched(job), *sight.conditions, *harvest.conditions],
    )


def _runners(state: dict[str, Any]) -> dict[str, Any]:
    return {name: claim for name, claim in state.get("claims", {}).items() if name in ("progress", "end")}


def _started(sight: Sight, state: dict[str, Any]) -> datetime | None:
    """When the inputs were there and the code could begin, by the sidecar; never before its container did.

    A container that nobody saw or heard has not begun: its image may not be there, though the sidecar was ready.
    """
    ready = time(state.get("ready"))
    heard = any(state.get("claims", {}).values()) or state.get("main") or state.get("log", {}).get("size")
    if ready is None or (sight.started is None and not heard):
        return None
    return ready if sight.started is None else max(ready, sight.started)


def _refined(whole: datetime | None, fine: datetime | None) -> datetime | None:
    if whole is None or fine is None:
        return whole
    return fine if abs((fine - whole).total_seconds()) <= CLOSE_SECONDS else whole
