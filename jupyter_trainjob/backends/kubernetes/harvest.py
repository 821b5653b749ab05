"""What a sidecar shipped, read and put in order: its word on the attempt checked, logs joined, leftovers removed.

The sidecar writes through a form that lets it add objects and nothing else, so the server does what needs more: one
object of many segments, and segments that the log's gap has swallowed. Everything read here is bounded and checked:
the store holds what a pod put there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ...resources.names import attempt_prefix
from ...storage.base import KeyMissing, ObjectStore
from ...storage.logjoin import join_segments
from ...storage.loglayout import LogRecord, as_found, holes_between, record, segment_key, segments
from ...storage.seen import seen
from ..base import AttemptRef
from ..local import events
from .listing import FOLDER
from .pod.claims import VOLUMES

STATE = "state.json"
MAX_STATE_BYTES = 4 * 2**20
MAX_LISTED = 1000
MAX_CONDITIONS = 20
_STATES = ("starting", "running", "ended")
_COUNTS = 2**53


@dataclass(frozen=True)
class Harvest:
    """What an ended attempt left in the store. ``state``: see :func:`checked`; empty where nothing told."""

    state: dict[str, Any]
    log: LogRecord
    notebook: bool = False
    files: list[dict[str, Any]] = field(default_factory=list)
    files_total: int = 0
    files_bytes: int = 0
    conditions: list[dict[str, str]] = field(default_factory=list)

    @property
    def log_complete(self) -> bool:
        """Whether the log is known to hold all that was printed, but for its gap and what counts as missing."""
        return self.log.complete and not self.log.truncated


def read_state(store: ObjectStore, ref: AttemptRef) -> dict[str, Any]:
    """The sidecar's latest word, checked; empty where there is none yet. Blocks. Raises ``StoreError``."""
    try:
        data = store.get(attempt_prefix(ref.uid, ref.attempt) + STATE, 0, MAX_STATE_BYTES)
    except KeyMissing:
        return {}
    return parsed(data)


def parsed(data: bytes) -> dict[str, Any]:
    """``state.json``'s bytes, checked; empty where they make no sense."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return checked(found) if isinstance(found, dict) else {}


def gather(store: ObjectStore, ref: AttemptRef, termination: str = "", *, begun: bool = True) -> Harvest:
    """Join, prune, list. Doing it again is harmless. Blocks, as long as the log takes. Raises ``StoreError``.

    ``termination``: the sidecar's termination message, which counts where its last state is not in the store. Only
    when the sidecar can say no more. ``begun``: whether the code ever ran, as the cluster tells; where it did not and
    nothing was shipped, nothing is missing.
    """
    prefix = attempt_prefix(ref.uid, ref.attempt)
    whole_store, store = store, seen(store, prefix)
    state = merged(read_state(store, ref), termination)
    if not (begun or state or segments(store, prefix, limit=1)):
        store.delete_prefix(prefix + FOLDER)
        return Harvest({}, join_segments(store, prefix, record(store, prefix) or LogRecord()))
    log = _join(store, whole_store, prefix, state.get("log", {}))
    _join(store, whole_store, f"{prefix}metrics/", state.get("metrics", {}), only_if_any=True)
    store.delete_prefix(prefix + FOLDER)
    whole = state.get("state") == "ended"
    conditions = list(state.get("conditions", []))
    if whole:
        return Harvest(
            state,
            log,
            bool(state["notebook"]),
            state["files"],
            max(state["filesTotal"], len(state["files"])),
            state["filesBytes"],
            conditions,
        )
    found: list[dict[str, Any]] = [
        {"path": info.key.removeprefix(f"{prefix}files/"), "size": info.size} for info in store.list(f"{prefix}files/")
    ]
    if begun and _may_have_run(state):
        broken = "What brings the outputs was ended before it was done."
        conditions.append(_condition("OutputsComplete", "Broken", broken))
    return Harvest(
        state,
        log,
        store.exists(f"{prefix}notebook.ipynb"),
        found[:MAX_LISTED],
        len(found),
        sum(int(item["size"]) for item in found),
        conditions,
    )


def _may_have_run(state: dict[str, Any]) -> bool:
    """Whether code may have begun that left something, by the sidecar's last word: it waits for its inputs."""
    if state.get("failed"):
        return False
    told = state.get("claims") or state.get("main") or state.get("ready") or state.get("log", {}).get("size")
    return bool(told) or state.get("state") != "starting"


def merged(state: dict[str, Any], termination: str) -> dict[str, Any]:
    """``state`` with the sidecar's termination message, which counts where its last state is not in the store."""
    if state.get("state") == "ended" or not termination:
        return state
    last = parsed(termination.encode("utf-8", "replace"))
    told = {key: last[key] for key in ("log", "metrics", "main", "failed") if last.get(key)}
    return {**state, **told, "claims": {**state.get("claims", {}), **last.get("claims", {})}}


def unread(state: dict[str, Any], termination: str) -> Harvest:
    """What is known of an ended attempt where the store could not be read for too long."""
    state = merged(state, termination)
    told = state.get("log", {})
    log = LogRecord(told.get("size", 0), gap=told.get("gap"), missing=told.get("missing", 0), truncated=True)
    return Harvest(state, log)


def prune(store: ObjectStore, ref: AttemptRef, state: dict[str, Any]) -> None:
    """Remove what the caps of log and metrics have left out so far. Blocks. Raises ``StoreError``."""
    prefix = attempt_prefix(ref.uid, ref.attempt)
    for name, below in (("log", prefix), ("metrics", f"{prefix}metrics/")):
        if gap := state.get(name, {}).get("gap"):
            _prune(store, below, gap)


def forget(store: ObjectStore, ref: AttemptRef) -> None:
    """Remove what was only for the harvest, once the end is recorded. Blocks. Raises ``StoreError``."""
    prefix = attempt_prefix(ref.uid, ref.attempt)
    store.delete(prefix + STATE)
    store.delete_prefix(prefix + FOLDER)


def _join(
    store: ObjectStore, whole_store: ObjectStore, prefix: str, told: dict[str, Any], *, only_if_any: bool = False
) -> LogRecord:
    """One object of the segments under ``prefix``. ``told``: what the sidecar said of it at last.

    ``store`` shows what was listed. Another server may have joined the log while that list was made, so that neither
    its record nor the segments are in it: where bytes lack, the record is asked for after the list, in ``whole_store``.
    """
    known = record(store, prefix)
    if known is None and _lacks(store, prefix, told):
        known = record(whole_store, prefix)
    if known is not None and known.complete:
        return join_segments(store, prefix, known)  # what an earlier try did not remove
    if only_if_any and not told.get("size") and not segments(store, prefix, limit=1):
        return LogRecord()
    gap = told.get("gap") or (known.gap if known is not None else None)
    if gap is not None:
        _prune(store, prefix, gap)
    if not told.get("complete"):
        found = as_found(store, prefix)
        if not found.complete:
            found.size, found.gap = max(found.size, int(told.get("size", 0))), gap
        return join_segments(store, prefix, found)
    closed = known or LogRecord()
    closed.size, closed.gap, closed.truncated = int(told["size"]), told.get("gap"), False
    return join_segments(store, prefix, closed)


def _lacks(store: ObjectStore, prefix: str, told: dict[str, Any]) -> bool:
    """Whether segments do not make up all that was printed."""
    return bool(holes_between(segments(store, prefix), int(told.get("size", 0))))


def _prune(store: ObjectStore, prefix: str, gap: tuple[int, int]) -> None:
    """Remove the segments that the cap has left out: the sidecar can't."""
    for start, size in segments(store, prefix):
        if start >= gap[0] and start + size <= gap[1]:
            store.delete(segment_key(prefix, start))


# What a pod may say


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Of a state what is known, each field of its type and bounded; what makes no sense is left out."""
    state = found.get("state")
    return {
        "state": state if state in _STATES else "",
        "ready": _text(found.get("ready"), 64),
        "log": _log(found.get("log")),
        "metrics": _log(found.get("metrics")),
        "usage": _numbers(found.get("usage")),
        "claims": _claims(found.get("claims")),
        "notebook": found.get("notebook") is True,
        "files": _files(found.get("files")),
        "filesTotal": _count(found.get("filesTotal")),
        "filesBytes": _count(found.get("filesBytes")),
        "conditions": _conditions(found.get("conditions")),
        "main": _main(found.get("main")),
        "failed": _failed(found.get("failed")),
    }


def _claims(found: Any) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    if not isinstance(found, dict):
        return claims
    for name in ("hello", "progress", "end"):
        if isinstance(found.get(name), dict):
            try:
                claim = events.check({**found[name], "type": name})
            except (ValueError, RecursionError):
                continue  # a claim of the job's own that makes no sense is not repeated
            claims[name] = {key: value for key, value in claim.items() if key != "type"}
    started = found.get("started")
    if isinstance(started, str):
        claims["started"] = started[:64]
    return claims


def _log(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {"size": 0, "complete": False, "gap": None, "missing": 0}
    gap = found.get("gap")
    if not (isinstance(gap, list) and len(gap) == 2 and 0 <= _count(gap[0]) < _count(gap[1])):
        gap = None
    return {
        "size": _count(found.get("size")),
        "complete": found.get("complete") is True,
        "gap": (gap[0], gap[1]) if gap else None,
        "missing": _count(found.get("missing")),
    }


def _files(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        return []
    return [
        {"path": item["path"], "size": _count(item.get("size"))}
        for item in found[:MAX_LISTED]
        if isinstance(item, dict) and isinstance(item.get("path"), str) and len(item["path"]) <= 4096
    ]


def _conditions(found: Any) -> list[dict[str, str]]:
    if not isinstance(found, list):
        return []
    return [
        {
            "type": _text(item.get("type"), 64),
            "status": "True" if item.get("status") == "True" else "False",
            "reason": _text(item.get("reason"), 64),
            "message": _text(item.get("message"), 2000),
        }
        for item in found[:MAX_CONDITIONS]
        if isinstance(item, dict) and item.get("type")
    ]


def _main(found: Any) -> dict[str, Any] | None:
    """What the container of the code said of its own end."""
    if not isinstance(found, dict):
        return None
    made: dict[str, Any] = {}
    for name in ("exitCode", "signal", "oomKills", "peakTasks", "logBytes", "lostBytes"):
        value = found.get(name)
        made[name] = value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _COUNTS else None
    for name, most in (("limit", 64), ("message", 2000), ("lastWords", 4096), ("at", 64)):
        made[name] = _text(found.get(name), most)
    made["terminated"] = found.get("terminated") is True
    full = found.get("full")
    made["full"] = [one for one in VOLUMES if one in full] if isinstance(full, list) else []
    return made


def _failed(found: Any) -> dict[str, str] | None:
    if not isinstance(found, dict):
        return None
    return {"limit": _text(found.get("limit"), 64), "message": _text(found.get("message"), 4000)}


def _numbers(found: Any) -> dict[str, float]:
    if not isinstance(found, dict):
        return {}
    return {
        str(name)[:64]: float(value)
        for name, value in list(found.items())[:32]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _COUNTS
    }


def _count(found: Any) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _COUNTS else 0


def _text(found: Any, most: int) -> str:
    return found.encode("utf-8", "replace").decode()[:most] if isinstance(found, str) else ""


def _condition(kind: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": "False", "reason": reason, "message": message}
