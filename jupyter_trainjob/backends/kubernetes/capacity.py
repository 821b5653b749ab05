"""How much of a cluster our jobs may have: its nodes, what others have of them, and the namespace's quota. Pure.

Each job's pod takes more than the job asks for: the sidecar, and the main container's reserve. So a node is told with
room for one such overhead taken off, and :attr:`..base.NodeCapacity.per_job_cpu_millis` for each further job: a job
fits here exactly when its pod fits there.

A quota bounds all nodes together, and the scheduler sees nodes. So the nodes are told smaller, until together they have
what the quota gives: first each keeps what our jobs have of it already, then what is left goes to the nodes with the
most room, whole ones first, so that a large job still fits where it would. What is admitted then is never more than the
quota gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...resources.quantity import MAX_BYTES, MAX_CPU, byte_count, cpu_millis, format_bytes, format_cpu, parse
from ..base import NodeCapacity, SharedBound
from .objects import INSTALLATION, LIMITS, MANAGED_BY, MANAGER, is_of, ref_of
from .reading import Object, annotation, conditions, is_done, meta, status, told_as_json
from .settings import KubernetesSettings
from .volumes import REQUESTED_DISK

_QUOTAS = {
    "cpu": ("cpu", "requests.cpu", "limits.cpu"),
    "memory": ("memory", "requests.memory", "limits.memory"),
    "jobs": ("pods", "count/pods", "count/jobs.batch"),
}
POD_DISK = 2 * REQUESTED_DISK
"""What a job's pod requests of its node's disk: for its own container and the sidecar."""
_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Prefixes of taints that tell of how a node is."""


@dataclass(frozen=True)
class Amount:
    """CPUs in thousandths, bytes, GPUs, jobs."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    jobs: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.gpu + other.gpu, self.jobs + other.jobs)


@dataclass(frozen=True)
class Ours:
    """What our attempts have of the cluster."""

    nodes: Mapping[str, Amount] = field(default_factory=dict)
    """By node, without what each takes beside what it asks for; under ``""`` those without a node."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """What of each thing that a quota may bound is ours: of those that have a pod."""


@dataclass
class _Bound:
    """What a quota leaves to all our jobs together, and which quota says so."""

    most: int
    said: str
    whole: int
    name: str


def nodes(
    found: Iterable[Object],
    quotas: Iterable[Object],
    settings: KubernetesSettings,
    *,
    ours: Ours | None = None,
    others: Iterable[Object] = (),
) -> list[NodeCapacity]:
    """The nodes that our jobs may run on now, by name. ``others``: pods that are none of our attempts', whose requests
    take room; what they take of a quota is what it counts beyond ``ours``.
    """
    taken, ours = _requests_of(others, settings), ours or Ours()
    usable = [
        _capacity(node, taken.get(meta(node)["name"], Amount()), settings)
        for node in sorted(found, key=lambda item: str(meta(item).get("name")))
        if not _closed(node, settings)
    ]
    return _bounded(usable, _bounds(quotas, settings, ours.counted), settings, ours.nodes)


def sizes(
    found: Iterable[Object], quotas: Iterable[Object], settings: KubernetesSettings, *, others: Iterable[Object] = ()
) -> list[NodeCapacity]:
    """The nodes as they would be if all were well and only our attempts ran: what no job may be beyond, ever.

    Nodes that are cordoned or away for now count; what is on every node, by a DaemonSet or the kubelet's own, stays.
    """
    taken = _requests_of([pod for pod in others if pod.get("stays")], settings)
    whole = [
        _capacity(node, taken.get(meta(node)["name"], Amount()), settings)
        for node in sorted(found, key=lambda item: str(meta(item).get("name")))
        if not _never(node, settings)
    ]
    bounds = _bounds(quotas, settings, None)
    each = _overhead_under(bounds, settings)

    def least(name: str, has: int) -> int:
        bound = bounds.get(name)
        return has if bound is None else max(0, min(has, bound.most - getattr(each, name)))

    return [
        replace(
            node,
            cpu_millis=least("cpu", node.cpu_millis),
            memory_bytes=least("memory", node.memory_bytes),
            gpu=least("gpu", node.gpu),
        )
        for node in whole
    ]


def ours(jobs: Iterable[Object], pods: Mapping[str, Object | None], settings: KubernetesSettings) -> Ours:
    """Of our ``jobs``; ``pods``: by the Job's name."""
    everything = list(jobs)
    found = use(everything, pods)
    live = [pod for pod in pods.values() if pod is not None and not pod.get("deleted")]
    names = {name for name, pod in pods.items() if pod is not None and not pod.get("deleted") and not is_done(pod)}
    placed = Amount()
    for amount in use([job for job in everything if meta(job).get("name") in names], pods).values():
        placed += amount
    each, most = overhead(settings), overhead(settings, limits=True)
    counted = {
        "cpu": placed.cpu + each.cpu * placed.jobs,
        "limits.cpu": placed.cpu + most.cpu * placed.jobs,
        "memory": placed.memory + each.memory * placed.jobs,
        "gpu": placed.gpu,
        "pods": len(names),
        "count/pods": len(live),
        "count/jobs.batch": len(everything),
    }
    return Ours(found, counted)


def use(jobs: Iterable[Object], pods: Mapping[str, Object | None]) -> dict[str, Amount]:
    """Node → what our live attempts have of it; under ``""`` those without a node. ``pods``: by the Job's name."""
    found: dict[str, Amount] = {}
    for job in jobs:
        if any(conditions(job).get(kind, {}).get("status") == "True" for kind in ("Complete", "Failed")):
            continue
        if (job.get("spec") or {}).get("suspend") and pods.get(str(meta(job).get("name"))) is None:
            continue  # it waits for Kueue
        told = told_as_json(annotation(job, LIMITS))
        node = str(((pods.get(str(meta(job).get("name"))) or {}).get("spec") or {}).get("nodeName") or "")
        amount = Amount(_number(told, "cpuMillis"), _number(told, "memoryBytes"), _number(told, "gpu"), 1)
        found[node] = found.get(node, Amount()) + amount
    return found


def any_node(settings: KubernetesSettings) -> Object:
    """In the place of nodes that we may not look at: a quota bounds it, or nothing."""
    has = {"cpu": str(MAX_CPU), "memory": str(MAX_BYTES), "pods": "1000000"}
    return {
        "metadata": {"name": "cluster", "labels": dict(settings.node_selector)},
        "status": {
            "allocatable": has | dict.fromkeys(settings.gpu_resources[:1], "1000"),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def warnings(found: Iterable[Object], quotas: Iterable[Object], settings: KubernetesSettings) -> list[str]:
    """What an operator should know: no node, nodes that are left out and why, quotas that bound."""
    everything = list(found)
    closed = {str(meta(node).get("name")): _closed(node, settings) for node in everything}
    told = [f"the node {name} takes no jobs: {why}" for name, why in sorted(closed.items()) if why]
    if not everything:
        told.append("the cluster tells of no node: may the server read them?")
    elif all(closed.values()):
        told.append("no node of the cluster takes jobs now: they wait until one does")
    for name, bound in sorted(_bounds(quotas, settings, None).items()):
        shown = {"cpu": format_cpu, "memory": format_bytes}.get(name, str)(max(0, bound.most))
        what = {"cpu": f"{shown} CPU", "memory": f"{shown} memory", "gpu": f"{shown} GPU"}.get(name, f"{shown} jobs")
        told.append(f"{bound.said} bounds all jobs together to {what}")
    return told


def overhead(settings: KubernetesSettings, *, limits: bool = False) -> Amount:
    """What a job's pod requests beside the job; with ``limits``, what it may have beside it."""
    sidecar = settings.sidecar
    cpu = sidecar.cpu_limit if limits else sidecar.cpu
    return Amount(cpu_millis(cpu), byte_count(sidecar.memory) + byte_count(settings.reserve), 0, 1)


def _number(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0


def _capacity(node: Object, taken: Amount, settings: KubernetesSettings) -> NodeCapacity:
    has, each = _amounts(status(node).get("allocatable") or {}, settings), overhead(settings)
    return NodeCapacity(
        name=str(meta(node)["name"]),
        cpu_millis=max(0, has.cpu - taken.cpu - each.cpu),
        memory_bytes=max(0, has.memory - taken.memory - each.memory),
        gpu=max(0, has.gpu - taken.gpu),
        per_job_cpu_millis=each.cpu,
        per_job_memory_bytes=each.memory,
        jobs=_jobs(status(node).get("allocatable") or {}, taken),
        called=f"the node {meta(node)['name']}",
        gpu_only=any(taint.get("key") in settings.gpu_resources for taint in _untolerated(node, settings)),
    )


def _jobs(has: Mapping[str, Any], taken: Amount) -> int | None:
    """How many pods of ours a node takes, whatever they compute: it has places for pods, and disk."""
    bounds = []
    if "pods" in has:
        bounds.append(int(parse(str(has["pods"]))) - taken.jobs)
    if "ephemeral-storage" in has:
        bounds.append(int(parse(str(has["ephemeral-storage"]))) // POD_DISK)
    return max(0, min(bounds)) if bounds else None


def _closed(node: Object, settings: KubernetesSettings) -> str:
    """Why no job of ours goes to a node now; empty where some may. Profiles may tolerate more: that is theirs."""
    if (node.get("spec") or {}).get("unschedulable"):
        return "it is cordoned"
    ready = conditions(node).get("Ready", {})
    if ready.get("status") != "True":
        return f"it is not ready ({ready.get('message') or ready.get('reason') or 'it never said that it is'})"
    return _never(node, settings, passing=False)


def _never(node: Object, settings: KubernetesSettings, *, passing: bool = True) -> str:
    """Why no job of ours ever goes to a node; empty where some may. Without ``passing``, taints that the cluster sets
    and takes away by itself count too.
    """
    labels = meta(node).get("labels") or {}
    for key, value in settings.node_selector.items():
        if labels.get(key) != value:
            return f"it lacks the label {key}={value}"
    for taint in _untolerated(node, settings):
        if passing and str(taint.get("key")).startswith(_PASSING):
            continue
        if taint.get("key") not in settings.gpu_resources:  # pods that ask for one tolerate it
            shown = f"{taint.get('key')}={taint.get('value') or ''}:{taint.get('effect')}"
            return f"it has the taint {shown}, which the settings don't tolerate"
    return ""


def _untolerated(node: Object, settings: KubernetesSettings) -> list[Object]:
    taints = (node.get("spec") or {}).get("taints") or []
    return [one for one in taints if one.get("effect") != "PreferNoSchedule" and not _tolerated(one, settings)]


def _tolerated(taint: Object, settings: KubernetesSettings) -> bool:
    for item in settings.tolerations:
        if item.effect not in ("", taint.get("effect")) or item.key not in ("", taint.get("key")):
            continue
        if item.operator == "Exists" or item.value == (taint.get("value") or ""):
            return True
    return False


def _amounts(quantities: Mapping[str, Any], settings: KubernetesSettings) -> Amount:
    return Amount(
        cpu=int(parse(str(quantities.get("cpu", "0"))) * 1000),
        memory=int(parse(str(quantities.get("memory", "0")))),
        gpu=sum(int(parse(str(quantities.get(name, "0")))) for name in settings.gpu_resources),
        jobs=int(parse(str(quantities.get("pods", "0")))),
    )


def _requests_of(pods: Iterable[Object], settings: KubernetesSettings) -> dict[str, Amount]:
    """Node → what pods that are no attempt's of ours request of it."""
    found: dict[str, Amount] = {}
    for pod in pods:
        spec, labels = pod.get("spec") or {}, meta(pod).get("labels") or {}
        mine = labels.get(MANAGED_BY) == MANAGER and labels.get(INSTALLATION) == settings.installation_label
        mine = mine and is_of(pod, settings) is not False
        if (mine and ref_of(pod) is not None) or is_done(pod):
            continue
        name = str(spec.get("nodeName") or "")
        if name:
            asked = pod.get("requests") or requests(spec, settings)
            found[name] = found.get(name, Amount()) + asked
    return found


def requests(spec: Object, settings: KubernetesSettings) -> Amount:
    """What a pod takes of its node, as the scheduler counts: sidecars and containers together, or the largest of the
    init containers.
    """
    running, most = Amount(), Amount()
    for container in spec.get("initContainers") or []:
        one = _amounts((container.get("resources") or {}).get("requests") or {}, settings)
        if container.get("restartPolicy") == "Always":
            running += one
        else:
            most = _larger(most, running + one)
    for container in spec.get("containers") or []:
        running += _amounts((container.get("resources") or {}).get("requests") or {}, settings)
    above = _amounts(spec.get("overhead") or {}, settings)
    return replace(_larger(running, most) + above, jobs=1)


def _larger(one: Amount, other: Amount) -> Amount:
    return Amount(max(one.cpu, other.cpu), max(one.memory, other.memory), max(one.gpu, other.gpu))


def _bounds(
    quotas: Iterable[Object], settings: KubernetesSettings, mine: Mapping[str, int] | None
) -> dict[str, _Bound]:
    """``cpu``, ``memory``, ``gpu``, ``jobs`` → the least that a quota leaves to our jobs, beside what it counts beyond
    ``mine``; None: what it gives to all together.
    """
    found: dict[str, _Bound] = {}
    for quota in quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # of some pods only; where it strikes, the pod's own holdup says so
        hard = status(quota).get("hard") or spec.get("hard") or {}
        for name, keys in (*_QUOTAS.items(), ("gpu", tuple(f"requests.{item}" for item in settings.gpu_resources))):
            for key in keys:
                if key not in hard:
                    continue
                unit = 1000 if name == "cpu" else 1
                number = parse(str(hard[key])) * unit
                if mine is not None:
                    counted = parse(str((status(quota).get("used") or {}).get(key, "0"))) * unit
                    theirs = counted - mine.get(key, mine.get(name, 0))
                    number -= theirs if theirs > 0 else 0
                called = str(meta(quota).get("name"))
                whole = int(parse(str(hard[key])) * unit)
                bound = _Bound(int(number), f"the quota {called} ({key}: {hard[key]})", whole, called)
                if name not in found or bound.most < found[name].most:
                    found[name] = bound
    return found


@dataclass
class _Left:
    """What is still to be given away of each thing; None: as much as there is."""

    left: dict[str, int | None] = field(default_factory=dict)

    def pay(self, each: Amount) -> None:
        """Keep room for what a job takes beside itself."""
        for name in ("cpu", "memory"):
            have = self.left.get(name)
            if have is not None:
                self.left[name] = have - getattr(each, name)

    def take(self, name: str, wanted: int) -> int:
        have = self.left.get(name)
        if have is None:
            return wanted
        got = max(0, min(have, wanted))
        self.left[name] = have - got
        return got


def _bounded(
    usable: list[NodeCapacity], bounds: Mapping[str, _Bound], settings: KubernetesSettings, used: Mapping[str, Amount]
) -> list[NodeCapacity]:
    if not bounds or not usable:
        return usable
    each = _overhead_under(bounds, settings)
    whole = Amount()
    for amount in used.values():
        whole += amount
    left = _Left()
    for name, bound in bounds.items():
        per_job = getattr(each, name) if name in ("cpu", "memory") else 0
        left.left[name] = bound.most - getattr(whole, name) - per_job * whole.jobs
    # Whole nodes first, those with the most room for a large job: so the most room that one job finds stays.
    order = sorted(usable, key=lambda node: (-_free(node, used, each).cpu, -_free(node, used, each).memory, node.name))
    shares = {}
    for node in order:
        left.pay(each)  # for the first job that starts there now; the others are counted by the scheduler
        shares[node.name] = _share(node, used.get(node.name, Amount()), left, each)
    shared = tuple(
        SharedBound("runningJobs" if name == "jobs" else name, bound.most, bound.whole, f"the quota {bound.name}")
        for name, bound in bounds.items()
    )
    return [replace(shares[node.name], shared=shared) for node in usable]


def _overhead_under(bounds: Mapping[str, _Bound], settings: KubernetesSettings) -> Amount:
    """A quota on limits counts the sidecar's limit, which may be above its request."""
    by_limits = "cpu" in bounds and "(limits." in bounds["cpu"].said
    return overhead(settings, limits=by_limits)


def _free(node: NodeCapacity, used: Mapping[str, Amount], each: Amount) -> Amount:
    has = used.get(node.name, Amount())
    return Amount(
        node.cpu_millis - has.cpu - node.per_job_cpu_millis * has.jobs,
        node.memory_bytes - has.memory - node.per_job_memory_bytes * has.jobs,
        node.gpu - has.gpu,
        (node.jobs if node.jobs is not None else 10**9) - has.jobs,
    )


def _share(node: NodeCapacity, has: Amount, left: _Left, each: Amount) -> NodeCapacity:
    """What our jobs have of it stays; of what is free, as much as the quota still gives."""
    free = _free(node, {node.name: has}, each)
    bounded_jobs = left.left.get("jobs") is not None
    jobs = left.take("jobs", max(0, free.jobs))
    return replace(
        node,
        cpu_millis=has.cpu + each.cpu * has.jobs + left.take("cpu", max(0, free.cpu)),
        memory_bytes=has.memory + each.memory * has.jobs + left.take("memory", max(0, free.memory)),
        gpu=has.gpu + left.take("gpu", max(0, free.gpu)),
        jobs=has.jobs + jobs if bounded_jobs or node.jobs is not None else None,
        per_job_cpu_millis=each.cpu,
        per_job_memory_bytes=each.memory,
    )
