"""Bring a cluster to what is wanted: server-side apply, one object after another, telling what became of each.

Nothing is ever removed: what an earlier configuration made and a later one leaves out stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...base import BackendError
from ..connect import Connection, Refused, Reply
from ..objects import INSTALLATION
from ..settings import KubernetesSettings
from ..volumes import Manifest
from .marks import DEPLOYER
from .plan import named

APPLY = "application/apply-patch+yaml"
"""JSON is YAML."""
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "NetworkPolicy": "networkpolicies",
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "PersistentVolume": "persistentvolumes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Secret": "secrets",
    "Service": "services",
    "Deployment": "deployments",
    "DaemonSet": "daemonsets",
}
OLDEST = (1, 29)
"""The first Kubernetes whose pods have sidecars without being asked."""
_UNKNOWN_FIELD = "field not declared in schema"
"""So a server-side apply of a field that the server does not know ends, with status 500."""
Change = Literal["created", "changed", "unchanged"]


class DeployError(Exception):
    """What keeps it from being deployed; the text says what to do."""


@dataclass(frozen=True)
class Applied:
    """What became of one object."""

    name: str
    change: Change


def path_of(manifest: Manifest) -> str:
    """Of the object in the API."""
    group = manifest["apiVersion"]
    top = f"/apis/{group}" if "/" in group else f"/api/{group}"
    meta = manifest["metadata"]
    inside = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
    return f"{top}{inside}/{PLURALS[manifest['kind']]}/{meta['name']}"


async def version(api: Connection) -> tuple[int, int]:
    """Of the API server. Raises :class:`BackendError` where there is none, :class:`DeployError` for one too old."""
    reply = await api.request("GET", "/version")
    found = parse_version(reply.body)
    if found < OLDEST:
        raise DeployError(too_old(found))
    return found


def parse_version(told: dict[str, Any]) -> tuple[int, int]:
    """``(1, 35)``; vendors write ``35+``."""
    digits = ["".join(letter for letter in str(told.get(name, "0")) if letter.isdigit()) for name in ("major", "minor")]
    return int(digits[0] or 0), int(digits[1] or 0)


def too_old(found: tuple[int, int]) -> str:
    """For people."""
    wanted, has = (".".join(map(str, pair)) for pair in (OLDEST, found))
    return (
        f"The cluster runs Kubernetes {has}, and jobs need {wanted}: their pods have a container that starts before "
        "the job and ends after it. Use a newer cluster."
    )


async def check_namespace(api: Connection, settings: KubernetesSettings, *, make: bool, adopt: bool) -> None:
    """Nothing is done to a namespace that is another's. Raises :class:`DeployError`.

    ``make``: whether it may be made. ``adopt``: take one that is there and bears nobody's mark, or another's.
    """
    name, mark = settings.namespace, settings.installation_label
    try:
        reply = await api.request("GET", f"/api/v1/namespaces/{name}")
    except Refused as refused:
        if refused.status != 403 or make:
            raise _explained(refused, "get", "namespaces", name) from refused
        return  # somebody gave us the namespace and no right to look at it
    if reply.code == 404:
        if make:
            return
        raise DeployError(
            f"The cluster has no namespace {name!r}, and the part 'namespace' is left out. "
            "Ask for it, or take 'namespace' out of KubernetesDeploySettings.leave_out."
        )
    meta = reply.body.get("metadata", {})
    if meta.get("deletionTimestamp"):
        raise DeployError(f"The namespace {name!r} is being removed. Try again when it is gone.")
    found = (meta.get("labels") or {}).get(INSTALLATION)
    if found == mark or adopt or (found is None and not make):
        return
    whose = "belongs to another installation of ours" if found else "is there already and is not ours"
    raise DeployError(
        f"The namespace {name!r} {whose}: what is in it would be cut off by our NetworkPolicies and bounded by our "
        "quota. Choose another one (KubernetesBackendSettings.namespace"
        + (", or the same KubernetesBackendSettings.installation as it was made with" if found else "")
        + "), or say --adopt if it is meant for jobs."
    )


async def check_objects(
    api: Connection, settings: KubernetesSettings, items: Sequence[Manifest], *, adopt: bool
) -> None:
    """Nothing is overwritten that is another installation's, or nobody's of ours. Raises :class:`DeployError`.

    All have fixed names: two installations in one namespace would take turns with one service, one quota, one set of
    policies. ``adopt``: take what bears no mark of ours; what bears another's is never taken.
    """
    mark, theirs, foreign = settings.installation_label, [], []
    for manifest in items:
        if manifest["kind"] == "Namespace":
            continue  # check_namespace
        try:
            reply = await api.request("GET", path_of(manifest))
        except Refused as refused:
            raise _explained(refused, "get", PLURALS[manifest["kind"]], manifest["metadata"]["name"]) from refused
        if not reply.ok:
            continue
        found = (reply.body["metadata"].get("labels") or {}).get(INSTALLATION)
        if found is None:
            foreign.append(named(manifest))
        elif found != mark:
            theirs.append(named(manifest))
    if theirs:
        raise DeployError(
            f"In the namespace {settings.namespace!r} these belong to another installation of ours, which would lose "
            f"them: {', '.join(theirs)}. Give this one a namespace of its own (KubernetesBackendSettings.namespace), "
            "or call it as that one is called (KubernetesBackendSettings.installation). Where that one is gone, remove "
            f"what it left: everything there with the label {INSTALLATION} and another value than {mark}."
        )
    if foreign and not adopt:
        raise DeployError(
            f"These are there already and are not ours: {', '.join(foreign)}. Rename or remove them, leave the part "
            "that makes them out (KubernetesDeploySettings.leave_out), or say --adopt to take them over."
        )


async def apply(api: Connection, items: Sequence[Manifest], *, force: bool = False) -> AsyncIterator[Applied]:
    """One after another. ``force``: take over fields that somebody else set. Raises :class:`DeployError`."""
    for manifest in items:
        yield Applied(named(manifest), await _one(api, manifest, force))


async def _one(api: Connection, manifest: Manifest, force: bool) -> Change:
    path, resource = path_of(manifest), PLURALS[manifest["kind"]]
    try:
        verb = "get"
        before = await api.request("GET", path)
        verb = "patch"
        query = {"fieldManager": DEPLOYER, "fieldValidation": "Strict", **({"force": "true"} if force else {})}
        reply = await api.request("PATCH", path, query=query, body=manifest, content_type=APPLY)
    except Refused as refused:
        raise _explained(refused, verb, resource, manifest["metadata"]["name"]) from refused
    except BackendError as error:
        raise DeployError(f"{named(manifest)}: {error}") from error
    if not reply.ok:
        raise _not_taken(reply, manifest)
    if before.code == 404:
        return "created"
    return "unchanged" if _said(before.body) == _said(reply.body) else "changed"


def _said(found: Manifest) -> Manifest:
    """An object as somebody wrote it: a version may be new though nothing else is."""
    kept = {
        name: value for name, value in found["metadata"].items() if name not in ("resourceVersion", "managedFields")
    }
    return {**found, "metadata": kept, "status": None}


def _not_taken(reply: Reply, manifest: Manifest) -> DeployError:
    said = str(reply.body.get("message") or reply.body.get("reason") or "no reason given").rstrip(".")
    if reply.code == 404:
        return DeployError(
            f"{named(manifest)} can't be made: the API server does not know {manifest['apiVersion']} "
            f"{manifest['kind']}, or its namespace is not there ({said})."
        )
    causes = (reply.body.get("details") or {}).get("causes") or []
    fields = sorted({str(cause.get("field")) for cause in causes if cause.get("reason") == "FieldManagerConflict"})
    if fields:
        return DeployError(
            f"{named(manifest)} was changed by somebody else, who would lose it: {said}. "
            "Put it into the configuration, or say --force to set it as the configuration does."
        )
    return DeployError(f"{named(manifest)} can't be made now: {said}. Try again.")


def _explained(refused: Refused, verb: str, resource: str, name: str) -> DeployError:
    if refused.status == 403:
        return DeployError(
            f"You lack the right to {verb} {resource} (here {name!r}). {refused.message} Ask the cluster's operator "
            "for it, or let them apply that part (`--dry-run -o yaml` prints it), and name it in "
            "KubernetesDeploySettings.leave_out."
        )
    if refused.status in (400, 422) or _UNKNOWN_FIELD in str(refused):
        return DeployError(
            f"{resource}/{name}: the API server refuses it, perhaps because it is older than this package or because "
            f"of a value in the configuration: {refused}"
        )
    return DeployError(f"{resource}/{name}: {refused}")
