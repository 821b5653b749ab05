"""What stands where in the raw JSON of pods and jobs. Pure; a field that is missing reads as nothing."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

Object = dict[str, Any]
_LONGEST_ESCAPE = 6


def meta(found: Object | None) -> Object:
    """Its metadata."""
    return (found or {}).get("metadata") or {}


def status(found: Object | None) -> Object:
    """Its status."""
    return (found or {}).get("status") or {}


def annotation(found: Object | None, name: str) -> str | None:
    """An annotation; None where there is none."""
    value = (meta(found).get("annotations") or {}).get(name)
    return value if isinstance(value, str) else None


def conditions(found: Object | None) -> dict[str, Object]:
    """Its conditions by type."""
    return {item.get("type", ""): item for item in status(found).get("conditions") or []}


def true(found: Object | None, kind: str) -> Object:
    """The condition of this type if it holds, else empty."""
    item = conditions(found).get(kind, {})
    return item if item.get("status") == "True" else {}


def is_done(pod: Object | None) -> bool:
    """Whether nothing of a pod runs any more."""
    return status(pod).get("phase") in ("Succeeded", "Failed")


def container(pod: Object | None, name: str) -> Object:
    """The status of one of its containers; empty while the kubelet tells none."""
    told = status(pod)
    found = [*(told.get("initContainerStatuses") or []), *(told.get("containerStatuses") or [])]
    return next((item for item in found if item.get("name") == name), {})


def part(container_status: Object, name: str) -> Object:
    """``waiting``, ``running`` or ``terminated`` of a container's state; empty where it is in another."""
    return (container_status.get("state") or {}).get(name) or {}


def time(text: Any) -> datetime | None:
    """An RFC 3339 time; None for what is none, or says nothing of its zone."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def seconds_between(early: Any, late: Any) -> float:
    """From one RFC 3339 time to another; 0 where one is missing."""
    first, second = time(early), time(late)
    return (second - first).total_seconds() if first and second else 0.0


def deletion_asked(pod: Object) -> datetime | None:
    """When somebody asked for its deletion: the time it bears is when its grace is over."""
    at = time(meta(pod).get("deletionTimestamp"))
    if at is None:
        return None
    grace = meta(pod).get("deletionGracePeriodSeconds")
    return datetime.fromtimestamp(at.timestamp() - (grace if isinstance(grace, (int, float)) else 0), at.tzinfo)


def told_as_json(text: str | None) -> Object:
    """An object in JSON; empty where it is none."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def told_text(text: str | None, name: str) -> str:
    """What an object in JSON says under ``name``, which is the first that it says; empty where it is none.

    Last words are cut by the kubelet (4096 bytes, and 12 KiB for all containers of a pod): of those that were cut in
    this text its begin is told, with an ellipsis.
    """
    if found := told_as_json(text):
        return str(found.get(name) or "")
    before, rest = f'{{"{name}": "', text or ""
    if not rest.startswith(before):
        return ""
    rest = rest[len(before) :]
    for end in range(len(rest), max(-1, len(rest) - _LONGEST_ESCAPE), -1):
        try:
            begin: str = json.loads(f'"{rest[:end]}"', strict=False)
        except ValueError:  # the cut is within an escape
            continue
        return begin.encode("utf-8", "ignore").decode() + "…"
    return ""
