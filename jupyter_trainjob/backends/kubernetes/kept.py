"""What is kept of the objects that the watches tell of, and how they stand to each other. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .capacity import requests
from .objects import is_of, ref_of
from .reading import Object, meta
from .settings import KubernetesSettings
from .watch import trimmed


def job(found: Object) -> Object:
    """Of a Job."""
    return trimmed(found, "suspend", "parallelism", "activeDeadlineSeconds", "backoffLimit")


def pod(found: Object, settings: KubernetesSettings) -> Object:
    """Of a pod of ours; of one that is none of our attempts' also what it requests."""
    short = trimmed(found, "nodeName", "terminationGracePeriodSeconds")
    ours = ref_of(found) is not None and is_of(found, settings) is not False
    return short if ours else {**short, "requests": requests(found.get("spec") or {}, settings)}


def other(found: Object, settings: KubernetesSettings) -> Object:
    """Of a pod that is none of ours: there may be thousands."""
    told, spec = meta(found), found.get("spec") or {}
    names = ("name", "namespace", "uid", "resourceVersion")
    short: Object = {
        "metadata": {name: told[name] for name in names if name in told},
        "spec": {"nodeName": spec.get("nodeName") or ""},
        "requests": requests(spec, settings),
    }
    owners = {one.get("kind") for one in told.get("ownerReferences") or []}
    return {**short, "stays": True} if owners & {"DaemonSet", "Node"} else short


def quota(found: Object) -> Object:
    """Of a ResourceQuota."""
    return trimmed(found, "hard", "scopes", "scopeSelector")


def node(found: Object) -> Object:
    """Of a Node."""
    return trimmed(found, "taints", "unschedulable")


def is_later(found: Object, other: Object) -> bool:
    """Whether the pod ``found`` tells more than ``other``: it is the same, or a later one of the same Job."""
    mine, its = meta(found), meta(other)
    return bool(mine.get("uid") == its.get("uid") or mine["creationTimestamp"] >= its["creationTimestamp"])


def tombstone(last: Object | None, now: datetime) -> Object:
    """In the place of a Job that somebody deleted while its pod lives. ``last``: the Job, None where nobody saw it."""
    found: dict[str, Any] = last or {"metadata": {}, "spec": {}, "status": {}}
    return {**found, "metadata": {"deletionTimestamp": now.isoformat(timespec="seconds"), **meta(found)}}
