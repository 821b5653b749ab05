"""From an attempt to the objects that run it in a cluster: one ``batch/v1`` Job and one Secret. Pure.

Plain dicts in wire form. The names are the attempt's for ever, so that creating twice makes one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ...resources.images import read_image
from ...resources.names import is_name, slug
from ...resources.profile import Toleration
from ...resources.quantity import byte_count
from ...resources.volumes import mounts
from ..base import AttemptRef, AttemptRequest, BackendError
from ..orders import time_limit
from . import choices, containers, volumes
from .containers import gpu_resource
from .labels import INSTALLATION as INSTALLATION
from .labels import MANAGED_BY as MANAGED_BY
from .labels import MANAGER as MANAGER
from .settings import KubernetesSettings
from .volumes import Environment, Manifest

RECORD = "jupyter-trainjob/record"
"""Whose record an attempt or a slot is in. What lacks it is of an older version or everybody's, as environments are."""
UID = "jupyter-trainjob/uid"
ATTEMPT = "jupyter-trainjob/attempt"
OWNER = "jupyter-trainjob/owner"
QUEUE = "jupyter-trainjob/queue"
NAMESPACE = "jupyter-trainjob/namespace"
SLOT = "jupyter-trainjob/slot"
"""Of a Job that waited for its attempt, or still does (:mod:`.slots`): the digest of what fits it."""
JOB = "jupyter-trainjob/job"
"""Annotation: namespace and name of the job, for people."""
ORDERS = "jupyter-trainjob/orders"
"""Annotation: the digest of what the sidecar was told."""
LIMITS = "jupyter-trainjob/limits"
"""Annotation: what the attempt may use, as JSON, for whoever has to say which limit struck."""
CANCELLED = "jupyter-trainjob/cancelled"
"""Annotation: somebody cancelled the attempt, with what they said."""
GAVE_UP = "jupyter-trainjob/gave-up"
"""Annotation: it can't start, and why: ``{"limit", "message"}`` as JSON."""
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
"""Label: Kueue admits the Job, from this LocalQueue."""
KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
"""Label: the Job's WorkloadPriorityClass."""

ENVIRONMENT = "jupyter-trainjob/environment"
"""Annotation: the folder of the environment that it runs in, which is not to be removed meanwhile."""
FETCHING = "jupyter-trainjob/fetching"
"""Annotation: it is suspended until the server has fetched its inputs; the labels that it gets then, as JSON."""
FETCHED = "jupyter-trainjob/fetched"
"""Annotation: what was fetched, for people."""

MAX_SECRET_BYTES = 1000 * 1000
"""A Secret may have 1 MiB in all."""
MAX_ANNOTATION = 4000
_FAILURES: list[Manifest] = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"containerName": containers.MAIN, "operator": "NotIn", "values": [0]}},
]
"""They change nothing but the Job's last word: it names the disruption or the exit code, when the pod is gone."""
KEEP_ON_NODE = "cluster-autoscaler.kubernetes.io/safe-to-evict"


def common(settings: KubernetesSettings) -> dict[str, str]:
    """What attempts and slots of ours are known by."""
    record = {RECORD: settings.record} if settings.record else {}
    return {MANAGED_BY: MANAGER, INSTALLATION: settings.installation_label, **record}


def is_of(found: Manifest, settings: KubernetesSettings) -> bool | None:
    """Whether an object is of our record; None where nothing tells, as of those of an older version."""
    told = ((found.get("metadata") or {}).get("labels") or {}).get(RECORD)
    return told == settings.record if told and settings.record else None


def labels(request: AttemptRequest, settings: KubernetesSettings) -> dict[str, str]:
    """What the objects of an attempt are found by."""
    meta, spec = request.job.metadata, request.job.spec
    return {
        **common(settings),
        UID: request.ref.uid,
        ATTEMPT: str(request.ref.attempt),
        OWNER: slug(meta.owner),
        NAMESPACE: slug(meta.namespace),
        QUEUE: slug(spec.queue or "default"),
    }


def selector(settings: KubernetesSettings, ref: AttemptRef | None = None) -> str:
    """The label selector of all objects of this installation, or of those of one attempt."""
    found = f"{MANAGED_BY}={MANAGER},{INSTALLATION}={settings.installation_label}"
    return found if ref is None else f"{found},{UID}={ref.uid},{ATTEMPT}={ref.attempt}"


def ref_of(manifest: Manifest) -> AttemptRef | None:
    """Which attempt an object of ours belongs to; None for one without our labels."""
    found = (manifest.get("metadata") or {}).get("labels") or {}
    try:
        return AttemptRef(found[UID], int(found[ATTEMPT]))
    except (KeyError, ValueError):
        return None


def user_id(ref: AttemptRef, settings: KubernetesSettings) -> int:
    """As whom the attempt runs: the same for all where there is one id, else one of the range by its name."""
    first, last = settings.user_ids
    return first + int(hashlib.sha256(ref.name.encode()).hexdigest()[:12], 16) % (last - first + 1)


def image(request: AttemptRequest, settings: KubernetesSettings) -> str:
    """What the job runs in, by digest where that is known. :class:`BackendError` for what it may not, or has none."""
    job, profile = request.job, request.profile
    chosen = job.spec.environment.image or profile.spec.environment.image
    language = job.spec.environment.language or profile.spec.environment.language or "python"
    if not chosen:
        chosen = settings.images.get(language, "")
        if not chosen:
            there = ", ".join(sorted(settings.images)) or "none"
            raise BackendError(
                f"There is no image for {language!r} in this cluster; there are images for: {there}.",
                remedy="Choose an image (--image), another queue, or ask the operator for one.",
                permanent=True,
            )
    elif problem := choices.image_problem(chosen, profile.spec.environment.image, settings):
        raise BackendError(f"{problem[0].upper()}{problem[1:]}.", remedy="Choose another.", permanent=True)
    name = read_image(chosen).name
    recorded = job.status.image_digest
    if recorded.startswith(f"{name}@sha256:"):  # an earlier attempt's: this one runs in the very same
        return recorded
    return settings.pinned(chosen)


def needs_runner(image_name: str, settings: KubernetesSettings) -> bool:
    """Whether an image is none of ours, which have the runner inside."""
    ours = {read_image(text).name for text in (*settings.images.values(), settings.helper_image)}
    return read_image(image_name).name not in ours


def job(
    request: AttemptRequest,
    settings: KubernetesSettings,
    *,
    orders_digest: str = "",
    environment: Environment | None = None,
    fetching: bool = False,
) -> Manifest:
    """The Job; ``environment``: that of its requirements; ``fetching``: it waits for what the server fetches.

    Raises :class:`BackendError` for what this cluster can't give the attempt.
    """
    meta = request.job.metadata
    annotations = {JOB: f"{meta.namespace}/{meta.name}"}
    borne = {LIMITS: json.dumps(_limits(request, settings)), **({ORDERS: orders_digest} if orders_digest else {})}
    if environment is not None:  # the pod bears it as well: it may outlive the Job
        annotations[ENVIRONMENT] = environment.folder
    found, kueues = labels(request, settings), _kueue_labels(request)
    if fetching:  # for Kueue it is not there yet
        borne[FETCHING], kueues = json.dumps(kueues), {}
    limit = time_limit(request)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(request.ref, settings, {**found, **kueues}, {**annotations, **borne}),
        "spec": {
            **({"suspend": True} if request.local_queue or fetching else {}),
            "parallelism": 1,
            "completions": 1,
            # Attempts are ours: the cluster starts none, not even while a lost pod is still ending.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _FAILURES},
            # Backstops: the limit is held in the pod, and we delete the Job when its result is in.
            "activeDeadlineSeconds": settings.deadline_seconds(limit),
            "ttlSecondsAfterFinished": settings.ttl_seconds,
            "template": {
                "metadata": {"labels": found, "annotations": {**annotations, KEEP_ON_NODE: "false"}},
                "spec": _pod(request, settings, environment),
            },
        },
    }


def secret(ref: AttemptRef, settings: KubernetesSettings, labels: dict[str, str], files: dict[str, bytes]) -> Manifest:
    """The Secret that the sidecar reads. :class:`BackendError` where a cluster would not take it."""
    return {**opaque(ref.name, settings, labels, files), "metadata": _metadata(ref, settings, labels, {})}


def opaque(name: str, settings: KubernetesSettings, labels: dict[str, str], files: dict[str, bytes]) -> Manifest:
    """A Secret of these files. :class:`BackendError` where a cluster would not take it."""
    size = sum(len(name) + len(data) for name, data in files.items())
    if size > MAX_SECRET_BYTES:
        raise BackendError(
            f"What has to be told about this job takes {size} bytes, and a cluster takes {MAX_SECRET_BYTES} at most.",
            remedy="Send its files as a folder instead of one by one, and long code as a file.",
            permanent=True,
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels},
        "data": {name: base64.b64encode(data).decode("ascii") for name, data in files.items()},
    }


def owned_by(manifest: Manifest, owner: Manifest) -> Manifest:
    """``manifest``, to be removed by the cluster together with ``owner``, an object as the API server gave it back."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def ownership(job: Manifest) -> Manifest:
    """A merge patch of what is to be removed together with a Job, as the API server gave it back."""
    return owned_by({"metadata": {}}, {**job, "apiVersion": "batch/v1", "kind": "Job"})


def cancel_patch(message: str) -> Manifest:
    """A merge patch of the Job: somebody cancelled it."""
    return {"metadata": {"annotations": {CANCELLED: message[:MAX_ANNOTATION]}}}


def is_kueues(job: Manifest) -> bool:
    """Whether Kueue says when the Job may run."""
    return KUEUE_QUEUE in ((job.get("metadata") or {}).get("labels") or {})


def halt(job: Manifest) -> Manifest:
    """``spec`` of a merge patch after which the Job makes no pod. Kueue may take a suspension back, so it has no room
    for pods either.
    """
    return {"suspend": True, **({"parallelism": 0} if is_kueues(job) else {})}


def fetched_patch(job: Manifest, told: str) -> Manifest:
    """A merge patch of a Job that waited for what the server fetched: ``told`` says what came. It starts now, or where
    Kueue is to admit it, it begins to wait there. Refused (409) where somebody changed the Job meanwhile.
    """
    meta = job["metadata"]
    held: dict[str, str] = json.loads((meta.get("annotations") or {}).get(FETCHING) or "{}")
    return {
        "metadata": {
            "resourceVersion": meta["resourceVersion"],
            "labels": held,
            "annotations": {FETCHING: None, FETCHED: told[:MAX_ANNOTATION]},
        },
        "spec": {"suspend": bool(held)},
    }


def give_up_patch(why: dict[str, str]) -> Manifest:
    """A merge patch of the Job: it can't start; ``why`` is ``{"limit", "message"}``. Suspended, so no pod stays."""
    told = {"limit": why["limit"], "message": why["message"][:MAX_ANNOTATION]}
    return {"metadata": {"annotations": {GAVE_UP: json.dumps(told)}}, "spec": {"suspend": True}}


def _kueue_labels(request: AttemptRequest) -> dict[str, str]:
    """Of the Job only: Kueue takes pods that bear them for Workloads of their own."""
    found = {KUEUE_QUEUE: request.local_queue, KUEUE_PRIORITY: request.priority_class}
    return {name: value for name, value in found.items() if value} if request.local_queue else {}


def _metadata(
    ref: AttemptRef, settings: KubernetesSettings, found: dict[str, str], annotations: dict[str, str]
) -> Manifest:
    if not is_name(ref.name):
        raise BackendError(f"{ref.name!r} is no name that a cluster takes.", permanent=True)
    described: Manifest = {"name": ref.name, "namespace": settings.namespace, "labels": found}
    return described | ({"annotations": annotations} if annotations else {})


def _limits(request: AttemptRequest, settings: KubernetesSettings) -> dict[str, Any]:
    resources = request.job.spec.resources
    return {
        "cpuMillis": resources.cpu_millis,
        "gpu": resources.gpu or 0,
        "memoryBytes": resources.memory_bytes,
        "processes": resources.processes,
        "diskBytes": volumes.sizes(request.job, settings).work,
        "fileSizeBytes": byte_count(resources.file_size) if resources.file_size else None,
        "openFiles": resources.open_files,
        "shmBytes": byte_count(resources.shm) if resources.shm else None,
        "scratch": settings.scratch,
    }


def _pod(request: AttemptRequest, settings: KubernetesSettings, environment: Environment | None) -> Manifest:
    chosen = image(request, settings)
    inject = needs_runner(chosen, settings)
    meta, profile = request.job.metadata, request.profile.spec
    try:
        mounted = mounts(request.job.spec.volumes, profile.volumes, meta.owner, meta.namespace)
    except ValueError as error:
        raise BackendError(f"The job's volumes can't be mounted: {error}.", permanent=True) from None
    found = volumes.sizes(request.job, settings)
    main_mounts = volumes.main_mounts(settings, mounted, inject=inject, environment=environment)
    first = [containers.sidecar(request, settings, found, volumes.sidecar_mounts())]
    return {
        **bounded(
            settings,
            user_id(request.ref, settings),
            _wanted_tolerations(request, settings),
            node_selector=profile.placement.node_selector,
            runtime_class=profile.placement.runtime_class,
        ),
        "terminationGracePeriodSeconds": settings.termination_seconds,
        "shareProcessNamespace": False,
        "initContainers": [*first, *([containers.runner(settings)] if inject else [])],
        "containers": [containers.main(request, settings, chosen, found, main_mounts, inject=inject)],
        "volumes": volumes.pod_volumes(
            found, settings, secret=request.ref.name, mounts=mounted, inject=inject, environment=environment
        ),
    }


def bounded(
    settings: KubernetesSettings,
    user: int,
    tolerated: list[Toleration],
    *,
    node_selector: Mapping[str, str] | None = None,
    runtime_class: str = "",
) -> Manifest:
    """What every pod of ours has: what it may not, as whom it runs, and where it goes."""
    wanted: dict[str, Any] = {
        "nodeSelector": {**settings.node_selector, **(node_selector or {})},
        "runtimeClassName": runtime_class or settings.runtime_class,
        "priorityClassName": settings.priority_class,
        "serviceAccountName": settings.service_account,
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
        "tolerations": tolerations(tolerated, settings),
    }
    if settings.dns_policy == "None":
        wanted["dnsConfig"] = {"nameservers": ["127.0.0.1"]}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": settings.dns_policy,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            # One for all ids: volumes that jobs share must not change hands with each attempt.
            "fsGroup": settings.user_ids[0],
            # A course's volume of a million files must not be walked through at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{name: value for name, value in wanted.items() if value},
        **({} if settings.host_users is None else {"hostUsers": settings.host_users}),
    }


def _wanted_tolerations(request: AttemptRequest, settings: KubernetesSettings) -> list[Toleration]:
    """The operator's, the profile's, and for a job with GPUs that of the nodes which are kept for such jobs."""
    found = [*settings.tolerations, *request.profile.spec.placement.tolerations]
    if request.job.spec.resources.gpu:
        found.append(Toleration(key=gpu_resource(request, settings), operator="Exists"))
    return found


def tolerations(wanted: list[Toleration], settings: KubernetesSettings) -> list[Manifest]:
    """Those, each once, and for how long a pod stays bound to a node that does not answer."""
    found: list[Manifest] = []
    for item in wanted:
        one = {"key": item.key, "operator": item.operator, "value": item.value, "effect": item.effect}
        one = {name: value for name, value in one.items() if value}
        if one not in found:
            found.append(one)
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        found.append(
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": settings.unreachable_seconds,
            }
        )
    return found
