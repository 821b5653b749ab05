"""All that is asked of a cluster, in the order in which one thing needs another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ....storage.base import ObjectStore, StoreError
from ...base import BackendError
from ...findings import Finding, fail, ok, warn, worst
from ..connect import Connection, Refused
from ..deploy.apply import DeployError, version
from ..deploy.bounds import StorePlace
from ..deploy.marks import IMAGES, OBJECT, PREPULL, SERVICE, of_component
from ..deploy.plan import secrets_of
from ..deploy.rights import Right, is_of_all_pods, wanted
from ..deploy.settings import DeploySettings
from ..reading import Object, told_as_json
from ..reading import time as read_time
from ..settings import KubernetesSettings
from ..volumes import Manifest
from . import asks, looks, policies
from .trial import Seen, Trial

SIGNED_SECONDS = 600
MAX_BYTES = 10_000
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Patient:
    """What is examined. ``store``: None where it can't be opened from here; ``store_url``: as pods see it."""

    settings: KubernetesSettings
    deploy: DeploySettings
    store: ObjectStore | None
    store_url: str
    patience_seconds: float = 0.0
    """How long what was just deployed may take to come up."""
    policies: Sequence[Manifest] = ()
    """The NetworkPolicies that ``deploy`` would write; none where that can't be told."""


async def examine(api: Connection, patient: Patient) -> AsyncIterator[Finding]:
    """One finding after another, as they are made."""
    try:
        yield ok("cluster", f"{api.address} runs Kubernetes {'.'.join(map(str, await version(api)))}.")
    except DeployError as error:
        yield fail("cluster", str(error), "Use a newer cluster.")
        return
    except BackendError as error:
        yield fail("cluster", str(error), error.remedy or "See the message.")
        return
    namespace = await _get(api, f"/api/v1/namespaces/{patient.settings.namespace}")
    if namespace is not None and namespace.get("code") == 404:
        yield fail("namespace", f"There is no namespace {patient.settings.namespace!r}.", looks.DEPLOY)
        return
    if namespace is None:
        yield warn("pod security", "You may not look at the namespace.", "Ask its operator for the right to get it.")
    else:
        yield looks.pod_security(namespace)
    in_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    account = patient.deploy.account if patient.deploy.has("rights") and not in_cluster else ""
    rights = wanted(kueue=patient.deploy.kueue)
    spared = [right for right in rights if _is_spared(right, patient.deploy)]
    for finding in await asks.rights(api, patient.settings, rights, account, spared=spared):
        yield finding
    async for finding in _objects(api, patient):
        yield finding
    async for finding in _tried(api, patient):
        yield finding


def _is_spared(right: Right, deploy: DeploySettings) -> bool:
    """Whether the configuration does without it."""
    if not (right.cluster and right.lost):
        return False
    return not deploy.has("cluster-rights") or (is_of_all_pods(right) and not deploy.all_pods)


async def _objects(api: Connection, patient: Patient) -> AsyncIterator[Finding]:
    settings = patient.settings
    inside = f"/api/v1/namespaces/{settings.namespace}"
    for what, found, judge in (
        ("quota", await _list(api, f"{inside}/resourcequotas"), looks.quotas),
        ("limit range", await _list(api, f"{inside}/limitranges"), lambda items: looks.limit_ranges(items, settings)),
    ):
        yield judge(found) if found is not None else _unseen(what)
    for finding in await _policies(api, patient):
        yield finding
    async for finding in _clocks(api):
        yield finding
    for name, (key, what) in secrets_of(patient.deploy).items():
        finding = await _secret(api, settings, name, key, what)
        if finding.level == "fail":  # no pod of the service starts without it: nothing to wait for
            patient = replace(patient, patience_seconds=0.0)
        yield finding
    if patient.deploy.has("service"):
        yield await _up(api, patient, "Deployment", OBJECT, SERVICE, "service")
    if patient.deploy.has("images"):
        yield await _up(api, patient, "DaemonSet", PREPULL, IMAGES, "images on nodes")


async def _policies(api: Connection, patient: Patient) -> list[Finding]:
    found = await _list(api, f"/apis/networking.k8s.io/v1/namespaces/{patient.settings.namespace}/networkpolicies")
    if found is None:
        return [_unseen(policies.CHECK)]
    return policies.judge(found, patient.policies, patient.settings, ours=patient.deploy.has("network"))


def _unseen(what: str) -> Finding:
    return warn(what, "You may not look at it.", "Run it as somebody who may.")


async def _clocks(api: Connection) -> AsyncIterator[Finding]:
    leases = await _list(api, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
    nodes = await _list(api, "/api/v1/nodes")
    if leases is None or nodes is None:
        yield _unseen("clocks of nodes")
        return
    yield looks.clocks(leases, nodes, api.now())


async def _secret(api: Connection, settings: KubernetesSettings, name: str, key: str, what: str) -> Finding:
    check = f"secret {name}"
    found = await _get(api, f"/api/v1/namespaces/{settings.namespace}/secrets/{name}")
    how = f"kubectl -n {settings.namespace} create secret generic {name} " + (
        f"--from-literal={key}=postgresql+psycopg://user:password@host/database"
        if key == "url"
        else f"--from-file={key}=FILE"
    )
    if found is None:
        return _unseen(check)
    if found.get("code") == 404:
        return fail(check, f"It is missing; it holds {what}.", how)
    if key not in (found.get("data") or {}):
        return fail(check, f"It has no key {key!r}, which holds {what}.", f"Make it anew: {how}")
    return ok(check, f"It holds {what}.")


async def _up(api: Connection, patient: Patient, kind: str, name: str, component: str, what: str) -> Finding:
    """What was deployed, given its time."""
    path = f"/apis/apps/v1/namespaces/{patient.settings.namespace}/{kind.lower()}s/{name}"
    until = time.monotonic() + patient.patience_seconds
    while True:
        found = await _get(api, path)
        if found is None:
            return _unseen(what)
        finding = looks.rollout(kind, None if found.get("code") == 404 else found, what)
        if finding.level == "ok" or found.get("code") == 404:
            return finding
        if time.monotonic() > until:
            break
        await asyncio.sleep(WAIT_SECONDS)
    labels = of_component(patient.settings, component)
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
    pods = await _list(api, f"/api/v1/namespaces/{patient.settings.namespace}/pods", query) or []
    reasons = sorted({why for pod in pods if (why := looks.why_not_ready(pod))})
    why = f" {'; '.join(reasons)}." if reasons else " They are still coming up."
    return fail(what, finding.message + why, f"kubectl -n {patient.settings.namespace} describe {kind.lower()} {name}")


async def _tried(api: Connection, patient: Patient) -> AsyncIterator[Finding]:
    """With pods of their own, which are removed again."""
    trial = Trial(api, patient.settings)
    place = f"probe/{secrets.token_hex(8)}/"
    try:
        images = asyncio.create_task(_images(trial, patient))
        try:
            async for finding in _network(trial, patient, place):
                yield finding
        finally:
            findings = await images
        for finding in findings:
            yield finding
    finally:
        await trial.clear()
        if patient.store is not None:
            await asyncio.to_thread(_forget, patient.store, place)


async def _network(trial: Trial, patient: Patient, place: str) -> AsyncIterator[Finding]:
    address, seen = await trial.listener()
    if not address:
        yield _no_pod(seen)
        return
    asked = datetime.now(timezone.utc)
    told: dict[str, Any] = {"host": address}
    if patient.store is not None:
        told["store"] = await asyncio.to_thread(_for_pods, patient, place)
    seen = await trial.look(told)
    if seen.problem:
        yield _no_pod(seen)
        return
    yield _server_clock(seen, asked)
    found = told_as_json(seen.words)
    if "reached" not in found:
        yield _unreadable(seen)
        return
    control = not found["reached"] and await trial.open_port()
    if control:
        waited = await trial.wait(address)
        found["opened"] = not waited.problem and told_as_json(waited.words).get("opened", False)
    lacking = worst(await _policies(trial.api, patient)) == "fail"
    named = StorePlace.of(patient.store_url).named
    for finding in looks.closed(found, control=control, store_named=named, missing=lacking):
        yield finding
    if "store" in found:
        yield _store(found["store"], patient)
        yield looks.skew("clock of the pod", f"the node {seen.node}", found["ahead"])


def _unreadable(seen: Seen) -> Finding:
    """Of a pod that ran and left what is no JSON, or was cut: what it did say."""
    said = f"it said {seen.words[:400]!r}" if seen.words else "it said nothing"
    return fail(
        "pods",
        f"What a pod like those of jobs found out can't be read: {said}.",
        "Run it again. If it stays so, the image of Python is of another version than this command.",
    )


def _no_pod(seen: Seen) -> Finding:
    if seen.forbidden:
        return warn(
            "pods",
            "You may make no pods there: what jobs reach was not tried.",
            "Run it as somebody who may, such as whoever deploys.",
        )
    return fail(
        "pods",
        f"A pod like those of jobs does not run: {seen.problem}.",
        "See the message; until then what pods reach is not known.",
    )


def _server_clock(seen: Seen, asked: datetime) -> Finding:
    """The API server's word for when the pod was made stands beside ours."""
    made = read_time(seen.created) or asked
    ahead = (asked - made).total_seconds()
    if abs(ahead) < looks.SKEW_SECONDS:
        return ok("clock of the server", "The clocks of this machine and of the API server agree.")
    text = f"The clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the API server's."
    return warn("clock of the server", text, "Set clocks by NTP.")


def _store(problem: str, patient: Patient) -> Finding:
    if not problem:
        return ok("store from a pod", f"A pod stores and reads at {patient.store_url}, with what jobs get.")
    return fail(
        "store from a pod",
        f"A pod can't use the store at {patient.store_url}: {problem}",
        "Look at ObjectStoreSettings.pod_url, at KubernetesBackendSettings.store_ca_file, and at the NetworkPolicy "
        "trainjob-store (KubernetesDeploySettings.store_peers).",
    )


def _for_pods(patient: Patient, place: str) -> dict[str, Any]:
    """What a pod needs to try the store: good for a few minutes, and for one prefix that nobody uses."""
    store: Any = patient.store
    key = f"{place}from-pod"
    expires = datetime.now(timezone.utc) + timedelta(seconds=SIGNED_SECONDS)
    return {
        "home": patient.settings.home,
        "post": store.sign_post(place, SIGNED_SECONDS, MAX_BYTES),
        "gets": {key: {"url": store.sign_get(key, SIGNED_SECONDS), "expires": int(expires.timestamp())}},
        "key": key,
        "ca": patient.settings.store_ca,
        "caFile": "",
        "url": patient.store_url,
    }


def _forget(store: ObjectStore, place: str) -> None:
    with contextlib.suppress(StoreError):  # the store's own findings say why
        store.delete_prefix(place)


async def _images(trial: Trial, patient: Patient) -> list[Finding]:
    """Of all images but the helper's, which the other pods run."""
    settings = patient.settings
    others = {name: image for name, image in settings.images.items() if image != settings.helper_image}
    seen = await asyncio.gather(*(trial.image(number, image) for number, image in enumerate(others.values())))
    if any(one.forbidden for one in seen):
        return []
    found = [
        ok(f"image of {name}", f"A pod of {image} runs.")
        if not one.problem
        else fail(
            f"image of {name}",
            f"A pod of {image} does not run: {one.problem}.",
            "Push it where nodes find it (jupyter trainjob images build --push), or mend "
            "KubernetesBackendSettings.images or .pull_secrets.",
        )
        for (name, image), one in zip(others.items(), seen, strict=True)
    ]
    missing = [name for name in ("r", "scala") if name not in settings.images]
    return found + [
        warn(f"image of {name}", "None is configured: jobs of this language are refused.", "Name one in images.")
        for name in missing
    ]


async def _get(api: Connection, path: str) -> Object | None:
    """The object, ``{"code": 404}`` where there is none, None where we may not look."""
    try:
        reply = await api.request("GET", path)
    except Refused as refused:
        if refused.status == 403:
            return None
        raise
    return reply.body if reply.ok else {"code": reply.code}


async def _list(api: Connection, path: str, query: dict[str, str] | None = None) -> list[Object] | None:
    try:
        reply = await api.request("GET", path, query=query)
    except Refused as refused:
        if refused.status == 403:
            return None
        raise
    return list(reply.body.get("items") or [])
