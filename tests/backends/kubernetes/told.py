"""Jobs, pods and events in the shape that the API documents, to be bent by each case."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timezone
from typing import Any

from jupyter_trainjob.backends.kubernetes import objects

from .attempts import SETTINGS, request

T0, T1, T2, T3 = (f"2026-03-02T10:{minute}:00Z" for minute in ("00", "01", "02", "03"))
"""Created, started, something happens, later."""
DAY = "2026-03-02T"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", time: str = T2) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time}


def job(*conditions: dict[str, Any], annotations: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """As the watch keeps it."""
    found = copy.deepcopy(objects.job(request(), SETTINGS))
    meta = found["metadata"]
    meta.update(uid="job-uid", creationTimestamp=T0)
    meta["annotations"].update(annotations or {})
    found["status"] = {"startTime": T0, "conditions": list(conditions)}
    found["spec"]["suspend"] = more.pop("suspend", False)
    meta.update(more)
    return found


def gave_up(limit: str, message: str) -> dict[str, str]:
    return {objects.GAVE_UP: json.dumps({"limit": limit, "message": message})}


def container(name: str, **state: Any) -> dict[str, Any]:
    image = "registry.example.org/course/lab:2026" if name == "main" else "docker.io/trainjob/python:1"
    found = {"name": name, "image": image, "imageID": f"{image}@sha256:{'d' * 64}", "restartCount": 0}
    found["lastState"] = state.pop("lastState", {})
    found["restartCount"] = state.pop("restartCount", 0)
    return {**found, "state": state}


def ended(code: int, reason: str = "", message: str = "", at: str = T2, started: str | None = T1) -> dict[str, Any]:
    reason = reason or ("Completed" if code == 0 else "Error")
    return {
        "terminated": {"exitCode": code, "reason": reason, "message": message, "startedAt": started, "finishedAt": at}
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


RUNNING: dict[str, Any] = {"running": {"startedAt": T1}}
STARTED = [
    condition("PodScheduled", time=T0),
    condition("Initialized", time=T1),
    condition("ContainersReady", time=T1),
    condition("Ready", time=T1),
]


def pod(
    phase: str = "Running",
    main: dict[str, Any] | None = None,
    sidecar: dict[str, Any] | None = None,
    conditions: list[dict[str, Any]] | None = None,
    node: str = "node1",
    meta: dict[str, Any] | None = None,
    deleted: bool = False,
    init: list[dict[str, Any]] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """As the watch keeps it; no container statuses where neither container is given."""
    told: dict[str, Any] = {"phase": phase, "conditions": STARTED if conditions is None else conditions, **status}
    if main is not None:
        told["containerStatuses"] = [container("main", **main)]
    if sidecar is not None or init:
        told["initContainerStatuses"] = [container("sidecar", **(sidecar or RUNNING)), *(init or [])]
    found = {
        "metadata": {"name": "tj-x-1-abcde", "uid": "pod-uid", "creationTimestamp": T0, **(meta or {})},
        "spec": {"nodeName": node} if node else {},
        "status": told,
    }
    return {**found, "deleted": True} if deleted else found


def event(reason: str, message: str, time: str = T1, uid: str = "pod-uid") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": time, "involvedObject": {"uid": uid}}


def deletion(asked: str, grace: int = 90) -> dict[str, Any]:
    """Metadata of a pod that somebody asked to delete at ``asked``."""
    end = datetime.fromtimestamp(at(asked).timestamp() + grace, timezone.utc)
    return {"deletionTimestamp": end.isoformat().replace("+00:00", "Z"), "deletionGracePeriodSeconds": grace}
