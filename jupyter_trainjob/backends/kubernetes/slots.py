"""Slots: Jobs whose kernel runs before there is a job for it, each for one attempt. What they are made of. Pure.

A slot is the Job of an attempt without code, of a profile and nothing more; idle it bears no owner and no deadline.
Whoever claims it lays an attempt's labels and deadline on it, by a patch that fails where somebody else was quicker.
An attempt fits a slot where all that was settled when the slot's kernel started is the same: the pod to the last field,
and what the runner was told before the job was known. That is one digest (:func:`digest`), which the slot bears as a
label; so slots of an older image or configuration fit nothing, and are replaced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from ..._version import __version__
from ...resources.base import ObjectMeta
from ...resources.profile import Profile, completed
from ...resources.trainjob import (
    FIRST_CHOSEN_SEED,
    CellSource,
    Environment,
    Outputs,
    Resources,
    TrainJob,
    TrainJobSpec,
    UriInput,
)
from ..base import AttemptRef, AttemptRequest, BackendError, NodeCapacity
from ..orders import time_limit
from . import capacity, delivery, objects
from .capacity import Amount
from .containers import MAIN
from .pod.files import PROTOCOL, WARM
from .reading import Object, conditions, container, meta, part, status, true
from .reading import time as read_time
from .settings import KubernetesSettings
from .volumes import OUT, Manifest

SLOT = objects.SLOT
PROFILE = "jupyter-trainjob/profile"
"""Annotation of a slot: its profile, for people."""
RUNS_IN = "jupyter-trainjob/runs-in"
"""Annotation of an attempt's Secret: the slot that it was decided to run in."""
LANGUAGES = ("python", "r")
"""Whose kernels can wait for a job."""
PREFIX = "pool/"
"""Below it, in the object store, lies what slots are told."""

_BEFORE = (
    *("runnerProtocol", "language", "kernel", "interpreter", "libraries", "jars", "compiled", "environment"),
    *("threads", "memoryBytes", "rlimits", "drop", "graceSeconds"),
)
"""What of ``job.json`` a runner uses before its job is known."""

State = Literal["warming", "warm", "over"]


def key(slot: str) -> str:
    """Where a slot's sidecar finds its job."""
    return f"{PREFIX}{slot}/orders.json"


def blank(profile: Profile, token: str = "") -> AttemptRequest:
    """An attempt of ``profile`` that asks for nothing and runs nothing, for nobody. ``token`` tells it from others."""
    spec = profile.spec
    told = spec.environment
    job = TrainJob(
        metadata=ObjectMeta(name="waiting", uid=f"warm-{token}"),
        spec=TrainJobSpec(
            source=CellSource(code="pass"),
            profile=profile.metadata.name,
            resources=completed(Resources(), spec.defaults),
            environment=Environment(
                language=told.language.lower() or "python",
                image=told.image,
                env=told.env,
                requirements=told.requirements,
            ),
            time_limit_seconds=spec.time_limit_seconds,
            seed=FIRST_CHOSEN_SEED,
        ),
    )
    return _roomy(AttemptRequest(AttemptRef(f"warm-{token}", 0), job, profile, ""))


def digest(request: AttemptRequest, settings: KubernetesSettings, terms: delivery.Terms) -> str:
    """What tells the slots that ``request`` fits; empty where it fits none, whatever there is."""
    spec = request.job.spec
    told = spec.environment
    if spec.seed is None or spec.seed < FIRST_CHOSEN_SEED or told.requirements is not None or told.kernel:
        return ""
    if any(isinstance(item, UriInput) for item in spec.inputs):  # which are fetched before there is a pod
        return ""
    nobody = _roomy(replace(request, ref=AttemptRef("warm", 0)))
    try:
        job = objects.job(nobody, settings)
    except BackendError:
        return ""
    if job["spec"].get("suspend"):  # its order and admission are another's
        return ""
    runners = delivery.described_for_pod(nobody, terms)
    if runners["language"] not in LANGUAGES:
        return ""
    settled = {
        "pod": job["spec"]["template"]["spec"],
        "job": {name: runners[name] for name in _BEFORE},
        "protocol": PROTOCOL,
        "version": __version__,
        "priority": settings.warm_priority_class,
    }
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:32]


def _roomy(request: AttemptRequest) -> AttemptRequest:
    """With room for results: a slot can't know whether its job will have some."""
    job = request.job
    spec = job.spec.model_copy(update={"outputs": Outputs(names=["result"])})
    return replace(request, job=job.model_copy(update={"spec": spec}))


def manifest(request: AttemptRequest, settings: KubernetesSettings, fits: str) -> Manifest:
    """The Job of a slot. ``request`` is :func:`blank`'s, ``fits`` its :func:`digest`."""
    made = objects.job(request, settings)
    labels = {**objects.common(settings), SLOT: fits}
    told = {PROFILE: request.profile.metadata.name, objects.KEEP_ON_NODE: "false"}
    limits = made["metadata"]["annotations"][objects.LIMITS]
    made["metadata"] |= {"labels": labels, "annotations": {**told, objects.LIMITS: limits}}
    del made["spec"]["activeDeadlineSeconds"]
    template = made["spec"]["template"]
    template["metadata"] = {"labels": labels, "annotations": told}
    if settings.warm_priority_class:
        template["spec"]["priorityClassName"] = settings.warm_priority_class
    main = next(one for one in template["spec"]["containers"] if one["name"] == MAIN)
    main["startupProbe"] = {  # asked until it is there, and never again
        "exec": {"command": ["test", "-e", f"{OUT}/{WARM}"]},
        "periodSeconds": 1,
        "timeoutSeconds": 10,
        "failureThreshold": settings.startup_seconds,
    }
    return made


def told(request: AttemptRequest, get: dict[str, Any], terms: delivery.Terms) -> dict[str, Any]:
    """``slot.json``, what its sidecar waits by. ``get``: ``{"url", "expires"}`` of :func:`key`."""
    name = request.ref.name
    return {
        "protocol": PROTOCOL,
        "slot": name,
        "key": key(name),
        "get": get,
        "job": delivery.described_for_pod(request, terms),
    }


def claim_patch(
    request: AttemptRequest, settings: KubernetesSettings, slot: Object, orders_digest: str, now: datetime
) -> Manifest:
    """Of the slot's Job: it is the attempt's from now on. Fails where the Job is not as it was in ``slot``."""
    made = objects.job(request, settings, orders_digest=orders_digest)
    began = read_time(status(slot).get("startTime")) or read_time(meta(slot).get("creationTimestamp")) or now
    waited = max(0, int((now - began).total_seconds()))
    found = {name: made["metadata"][name] for name in ("labels", "annotations")}
    return {
        "metadata": {"resourceVersion": meta(slot)["resourceVersion"], **found},
        "spec": {"activeDeadlineSeconds": waited + settings.deadline_seconds(time_limit(request))},
    }


# What there is


@dataclass(frozen=True)
class Slot:
    """An idle one."""

    name: str
    fits: str
    state: State
    age_seconds: float = 0.0
    node: str = ""
    amount: Amount = field(default_factory=Amount)


def is_slot(job: Object) -> bool:
    """Whether it is one, idle or claimed."""
    return SLOT in (meta(job).get("labels") or {})


def is_idle(job: Object) -> bool:
    """Whether it is nobody's yet."""
    return is_slot(job) and objects.ref_of(job) is None


def job_of(pod: Object) -> str:
    """The name of the Job that a pod belongs to."""
    return str((meta(pod).get("labels") or {}).get("batch.kubernetes.io/job-name") or "")


def seen(job: Object, pod: Object | None, now: datetime) -> Slot:
    """What an idle slot is worth."""
    made = read_time(meta(job).get("creationTimestamp")) or now
    amount = next(iter(capacity.use([job], {}).values()), Amount())
    return Slot(
        name=str(meta(job)["name"]),
        fits=str((meta(job).get("labels") or {}).get(SLOT)),
        state=_state(job, pod),
        age_seconds=(now - made).total_seconds(),
        node=str(((pod or {}).get("spec") or {}).get("nodeName") or ""),
        amount=amount,
    )


def _state(job: Object, pod: Object | None) -> State:
    over = true(job, "Complete") or true(job, "Failed") or meta(job).get("deletionTimestamp")
    gone = pod is not None and (pod.get("deleted") or meta(pod).get("deletionTimestamp"))
    if over or gone or "FailureTarget" in conditions(job) or status(pod).get("phase") in ("Succeeded", "Failed"):
        return "over"
    main = container(pod, MAIN)
    if not part(main, "running") or main.get("started") is not True:
        return "over" if part(main, "terminated") else "warming"
    ready = conditions(pod).get("Ready", {})
    return "warming" if ready.get("status") != "True" else "warm"  # a node that does not answer takes its readiness


# What there should be


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    remove: tuple[str, ...]
    make: Mapping[str, int]


def plan(wanted: Mapping[str, int], there: Iterable[Slot], *, oldest_seconds: float, slowest_seconds: float) -> Plan:
    """Which slots go and how many of each digest come.

    Those that have waited too long are replaced, and those that did not get warm in time.
    """
    kept: dict[str, list[Slot]] = {}
    remove = []
    for slot in there:
        slow = slot.state == "warming" and slot.age_seconds > slowest_seconds
        if slot.state == "over" or slow or slot.age_seconds > oldest_seconds or slot.fits not in wanted:
            remove.append(slot.name)
        else:
            kept.setdefault(slot.fits, []).append(slot)
    for fits, slots in kept.items():
        slots.sort(key=lambda one: (one.state != "warm", -one.age_seconds, one.name))
        remove += [slot.name for slot in slots[wanted[fits] :]]
    make = {fits: size - len(kept.get(fits, [])) for fits, size in wanted.items()}
    return Plan(tuple(remove), {fits: count for fits, count in make.items() if count > 0})


def choose(fits: str, there: Iterable[Slot]) -> list[str]:
    """The slots for an attempt, the one that waited longest first."""
    found = [slot for slot in there if fits and slot.fits == fits and slot.state == "warm"]
    return [slot.name for slot in sorted(found, key=lambda one: (-one.age_seconds, one.name))]


# Whether there is room


def has_room(nodes: Sequence[NodeCapacity], used: Mapping[str, Amount], need: Amount) -> bool:
    """Whether a job that needs so much fits on a node beside what is ``used`` there."""
    waiting = used.get("", Amount())  # of no node yet: it may go to any
    return any(_fits(node, used.get(node.name, Amount()) + waiting, need) for node in nodes)


def _fits(node: NodeCapacity, has: Amount, need: Amount) -> bool:
    return (
        has.cpu + node.per_job_cpu_millis * has.jobs + need.cpu <= node.cpu_millis
        and has.memory + node.per_job_memory_bytes * has.jobs + need.memory <= node.memory_bytes
        and has.gpu + need.gpu <= node.gpu
        and (node.jobs is None or has.jobs < node.jobs)
        and (bool(need.gpu) or not node.gpu_only)
    )


def in_the_way(
    nodes: Sequence[NodeCapacity], used: Mapping[str, Amount], idle: Iterable[Slot], need: Amount
) -> list[str]:
    """The idle slots that must go so that a job fits: of one node and as few as will do; all where that is not enough.

    ``used``: what jobs have of each node, without slots.
    """
    slots = list(idle)
    best: list[str] | None = None
    for node in nodes:
        here = [slot for slot in slots if slot.node in (node.name, "")]
        for count in range(len(here) + 1):
            has = used.get(node.name, Amount()) + used.get("", Amount())
            for slot in here[count:]:
                has += slot.amount
            if _fits(node, has, need):
                if best is None or count < len(best):
                    best = [slot.name for slot in here[:count]]
                break
    return [slot.name for slot in slots] if best is None else best
