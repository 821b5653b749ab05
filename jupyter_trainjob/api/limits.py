"""Whether a job can ever run as asked: the profile's, the queue's and the nodes' bounds. Pure.

A finding is a :class:`Refusal`: which limit, of what, how much was asked for, how much there can be, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..resources.errors import FieldError
from ..resources.profile import Profile
from ..resources.quantity import byte_count, cpu_millis, format_bytes, format_cpu
from ..resources.queue import Limits, Queue
from ..resources.trainjob import Resources, TrainJobSpec
from ..resources.words import counted
from ..scheduling.packing import never_fits
from .identity import Identity

_WORDS = {
    "cpu": "CPU",
    "memory": "memory",
    "gpu": "GPU",
    "shm": "shared memory",
    "disk": "disk",
    "processes": "process",
    "open_files": "open file",
    "file_size": "file size",
    "log": "log bytes",
}
_MANY = {"CPU": "CPUs", "GPU": "GPUs", "process": "processes", "open file": "open files"}


MANY = 1_000_000
"""More pods than any node takes."""


class Node(Protocol):
    """A node's whole size for our jobs, as a backend tells it."""

    @property
    def cpu_millis(self) -> int:
        """Thousandths of a CPU."""

    @property
    def memory_bytes(self) -> int:
        """Bytes."""

    @property
    def gpu(self) -> int:
        """GPUs."""


@dataclass(frozen=True)
class Refusal:
    """One bound that a job is beyond. ``requested`` and ``maximum`` are as people write them: ``8``, ``2Gi``."""

    field: str
    limit: str
    scope: str
    """profile, queue, user, above (a queue above the job's) or node."""
    name: str
    """Of the profile or the queue."""
    requested: str
    maximum: str
    message: str
    remedy: str

    def error(self) -> FieldError:
        """For the list of bad fields."""
        return FieldError(self.field, self.message, self.requested, self.remedy)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, shaped like the blockers of ``/why``."""
        return {
            "limit": self.limit,
            "scope": self.scope,
            "name": self.name,
            "requested": self.requested,
            "maximum": self.maximum,
            "message": self.message,
            "remedy": self.remedy,
        }


def refusals(
    spec: TrainJobSpec, profile: Profile, queue: Queue, nodes: Sequence[Node], above: Sequence[Queue] = ()
) -> list[Refusal]:
    """Every bound that the completed ``spec`` can never meet. No ``nodes``: their size is not known. ``above``: the
    queues above ``queue``.
    """
    whole = _together(spec)
    found = _above(spec.resources, profile.spec.maximum, "profile", profile.metadata.name)
    for pods in spec.pod_sets:
        found += _above(pods.resources, profile.spec.maximum, "profile", profile.metadata.name)
    found += _above(whole, _as_resources(queue.spec.limits), "queue", queue.metadata.name)
    found += _above(whole, _as_resources(queue.spec.per_user), "user", queue.metadata.name)
    for upper in above:
        found += _above(whole, _as_resources(upper.spec.limits), "above", upper.metadata.name)
    found += _time_limit(spec, profile, queue, above)
    found += _budgets(spec, queue, above)
    if spec.pod_sets:
        found += _gang(spec, nodes, queue.spec.backend)
    else:
        found += _nodes(spec.resources, nodes, queue.spec.backend)
    return found + _inconsistent(spec.resources)


def first_of_each(found: Sequence[Refusal]) -> list[Refusal]:
    """One word a field is enough."""
    return list({item.field: item for item in reversed(found)}.values())[::-1]


def _amount(name: str, value: str | int) -> int:
    if name == "cpu":
        return cpu_millis(value)
    return value if isinstance(value, int) else byte_count(value)


def _as_resources(limits: Limits) -> Resources:
    return Resources(cpu=limits.cpu, memory=limits.memory, gpu=limits.gpu)


def _above(asked: Resources, maximum: Resources, scope: str, name: str) -> list[Refusal]:
    whose = {
        "profile": f"the profile {name!r} allows",
        "queue": f"the queue {name!r} has for all its jobs together",
        "user": f"the queue {name!r} gives one person",
        "above": f"the queue {name!r}, which this one is below, has for all jobs together",
    }[scope]
    found = []
    for field_name, word in _WORDS.items():
        value, bound = getattr(asked, field_name), getattr(maximum, field_name)
        if value is None or bound is None or _amount(field_name, value) <= _amount(field_name, bound):
            continue
        other = "another profile" if scope == "profile" else "another queue"
        found.append(_refusal(field_name, word, scope, name, value, bound, whose, other))
    return found


def _refusal(
    field_name: str, word: str, scope: str, name: str, value: str | int, bound: str | int, whose: str, other: str
) -> Refusal:
    camel = {"open_files": "openFiles", "file_size": "fileSize"}.get(field_name, field_name)
    return Refusal(
        field=f"spec.resources.{camel}",
        limit=camel,
        scope=scope,
        name=name,
        requested=str(value),
        maximum=str(bound),
        message=f"{counted(value, word, _MANY.get(word, word))} is more than {whose}, {bound}",
        remedy=f"Ask for at most {bound}" + (f", or choose {other}." if other else "."),
    )


def _time_limit(spec: TrainJobSpec, profile: Profile, queue: Queue, above: Sequence[Queue]) -> list[Refusal]:
    found = []
    asked = spec.time_limit_seconds
    bounds: list[tuple[str, Profile | Queue]] = [("profile", profile), ("queue", queue)]
    for scope, one in bounds + [("above", upper) for upper in above]:
        name, bound = one.metadata.name, one.spec.max_time_limit_seconds
        word = "profile" if scope == "profile" else "queue"
        if asked is not None and bound is not None and asked > bound:
            found.append(
                Refusal(
                    field="spec.timeLimitSeconds",
                    limit="timeLimitSeconds",
                    scope=scope,
                    name=name,
                    requested=str(asked),
                    maximum=str(bound),
                    message=f"{asked} s is more than the {word} {name!r}"
                    + (", which this one is below," if scope == "above" else "")
                    + f" allows, {bound} s",
                    remedy=f"Ask for at most {bound} s, or choose another {word}.",
                )
            )
    return found


def _budgets(spec: TrainJobSpec, queue: Queue, above: Sequence[Queue]) -> list[Refusal]:
    """Budgets that a whole window of would not pay for the job: it is admitted with its time limit."""
    seconds = spec.time_limit_seconds
    if not seconds:
        return []
    cpu = _together(spec).cpu_millis
    cost = cpu * seconds / 3_600_000
    given = [("queue", one, one.spec.budget) for one in (queue, *above)]
    given.append(("user", queue, queue.spec.per_user_budget))
    found = []
    for scope, one, budget in given:
        if budget is None or cost <= budget.core_hours:
            continue
        name, hours = one.metadata.name, f"{budget.core_hours:g}"
        whose = f"the queue {name!r} has" if scope == "queue" else f"the queue {name!r} gives one person"
        most = int(budget.core_hours * 3_600_000 / cpu)
        found.append(
            Refusal(
                field="spec.timeLimitSeconds",
                limit="budget",
                scope=scope,
                name=name,
                requested=f"{cost:.4g}",
                maximum=hours,
                message=f"{counted(format_cpu(cpu), 'CPU')} for {seconds} s may take {cost:.4g} CPU-hours, "
                f"more than {whose} in each window, {hours}",
                remedy=f"Ask for at most {most} s, or for fewer CPUs.",
            )
        )
    return found


def _nodes(asked: Resources, nodes: Sequence[Node], backend: str) -> list[Refusal]:
    """What no node has. Where each alone would fit but not all on one node, all are named together."""
    if not nodes:
        return []
    found = []
    largest: dict[str, str | int] = {
        "cpu": format_cpu(max(node.cpu_millis for node in nodes)),
        "memory": format_bytes(max(node.memory_bytes for node in nodes) // 2**20 * 2**20),
        "gpu": max(node.gpu for node in nodes),
    }
    need = (asked.cpu_millis, asked.memory_bytes, asked.gpu or 0)
    for name in ("cpu", "memory", "gpu"):
        value = getattr(asked, name)
        if value is not None and _amount(name, value) > _amount(name, largest[name]):
            whose = f"any machine of {backend!r} has"
            found.append(_refusal(name, _WORDS[name], "node", backend, value, largest[name], whose, ""))
    if not found and not any(
        need[0] <= node.cpu_millis and need[1] <= node.memory_bytes and need[2] <= node.gpu for node in nodes
    ):
        text = f"{counted(asked.cpu or 0, 'CPU')} with {asked.memory} memory and {counted(asked.gpu or 0, 'GPU')}"
        found.append(
            Refusal(
                field="spec.resources",
                limit="node",
                scope="node",
                name=backend,
                requested=text,
                maximum="",
                message=f"no single machine of {backend!r} has {text} together",
                remedy="Ask for less of one of them.",
            )
        )
    return found


def _together(spec: TrainJobSpec) -> Resources:
    """What all pods need at once."""
    if not spec.pod_sets:
        return spec.resources
    needs = [(one.count, one.resources) for one in spec.needs()]
    return spec.resources.model_copy(
        update={
            "cpu": format_cpu(sum(count * each.cpu_millis for count, each in needs)),
            "memory": format_bytes(sum(count * each.memory_bytes for count, each in needs)),
            "gpu": sum(count * (each.gpu or 0) for count, each in needs),
        }
    )


def _gang(spec: TrainJobSpec, nodes: Sequence[Node], backend: str) -> list[Refusal]:
    """Pods that would not all fit even if nothing else ran: each needs a node with room for all of it."""
    kinds = [
        (one.count, [(1, one.resources.cpu_millis, one.resources.memory_bytes, one.resources.gpu or 0)] * len(nodes))
        for one in spec.needs()
    ]
    bins = [(MANY, node.cpu_millis, node.memory_bytes, node.gpu) for node in nodes]
    if not nodes or not never_fits(kinds, bins):
        return []
    text = " and ".join(
        f"{counted(one.count, 'pod')} of {counted(one.resources.cpu or 0, 'CPU')} and {one.resources.memory} memory"
        for one in spec.needs()
    )
    return [
        Refusal(
            field="spec.podSets",
            limit="node",
            scope="node",
            name=backend,
            requested=text,
            maximum="",
            message=f"{text} do not fit on the {counted(len(nodes), 'machine')} of {backend!r} one by one, "
            "even if nothing else runs",
            remedy="Ask for fewer pods, or for smaller ones.",
        )
    ]


def _inconsistent(asked: Resources) -> list[Refusal]:
    found = []
    for part, whole, why in (("shm", "memory", "it counts as memory"), ("file_size", "disk", "it lies on the disk")):
        value, bound = getattr(asked, part), getattr(asked, whole)
        if value and bound and byte_count(value) > byte_count(bound):
            camel = {"file_size": "fileSize"}.get(part, part)
            found.append(
                Refusal(
                    field=f"spec.resources.{camel}",
                    limit=whole,
                    scope="job",
                    name="",
                    requested=str(value),
                    maximum=str(bound),
                    message=f"{value} {_WORDS[part]} is more than the job's {whole}, {bound}; {why}",
                    remedy=f"Ask for more {whole}, or for less {_WORDS[part]}.",
                )
            )
    return found


def may_use(queue: Queue, identity: Identity) -> bool:
    """Whether the queue takes jobs of this person: operators, those with a role in it or above it, its users and
    groups.
    """
    if identity.operator or not identity.roles_in(queue.metadata.name).isdisjoint({"member", "instructor"}):
        return True
    if queue.spec.users is None and not queue.spec.groups:
        return True
    return identity.username in (queue.spec.users or ()) or not identity.groups.isdisjoint(queue.spec.groups)


def priority_error(spec: TrainJobSpec, binding: Sequence[Queue]) -> FieldError | None:
    """The priority's error, if it has one. ``binding``: of the job's queue and those above it the ones whose range the
    person can't go beyond.
    """
    spans = [queue.spec.priorities for queue in binding]
    beyond = next((one for one in binding if not one.spec.priorities.holds(spec.priority)), None)
    if beyond is None:
        return None
    span = beyond.spec.priorities
    least, most = max(one.minimum for one in spans), min(one.maximum for one in spans)
    return FieldError(
        "spec.priority",
        f"{spec.priority} is not in the range of the queue {beyond.metadata.name!r}, {span.minimum} to {span.maximum}",
        spec.priority,
        f"Write a number from {least} to {most}."
        if least <= most
        else "No number is in all ranges: use another queue.",
    )
