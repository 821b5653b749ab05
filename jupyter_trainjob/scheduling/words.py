"""What is in a job's way, in words."""

from __future__ import annotations

from ..resources.quantity import format_cpu
from ..resources.words import counted
from .model import UNITS, Amount, Blocker, Budget, Ceiling, quantity, show
from .nodes import Group, Node
from .tree import Branch


def part(amount: Amount | Ceiling, limit: str) -> int:
    """Of an amount, what a limit is of."""
    name = {"runningJobs": "jobs", "cpu": "cpu_millis", "memory": "memory_bytes", "gpu": "gpu"}[limit]
    return int(getattr(amount, name) or 0)


def duration(seconds: float) -> str:
    """A span for a person: ``45 s``, ``6 min``, ``2 h``, ``3 d``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} d"


def paused(name: str, queue: str) -> Blocker:
    """A queue at or above the job's takes none now."""
    return Blocker("admission", "paused", queue, message=f"queue {name} is paused")


def limit(limit: str, branch: Branch, need: Amount) -> Blocker:
    """A queue's limit, or a user's in it."""
    most = branch.maximum or Ceiling()
    maximum, used = part(most, limit), part(Amount(branch.jobs, branch.cpu, branch.memory, branch.gpu), limit)
    if branch.owner:
        allows, use = "allows you", "you have" if limit == "runningJobs" else "you use"
    else:
        allows, use = "allows", "has" if limit == "runningJobs" else "its jobs use"
    message = f"queue {branch.name} {allows} {quantity(limit, maximum)} and {use} {show(limit, used)}"
    scope = "user" if branch.owner else "queue"
    return Blocker(limit, scope, branch.name, part(need, limit), used, maximum, message)  # type: ignore[arg-type]


def budget(branch: Branch, budget: Budget, spent: int, cost: int, now: float) -> Blocker:
    """A budget that the job's time limit would exceed."""
    left = max(0, budget.cpu_milliseconds - spent)
    whose = "your budget in" if branch.owner else "the budget of"
    wait = (budget.window(now) + 1) * budget.window_seconds - now
    message = (
        f"{whose} queue {branch.name} has {_hours(left)} of {_hours(budget.cpu_milliseconds)} CPU-hours left, "
        f"the job may take {_hours(cost)}; the next begins in {duration(wait)}"
    )
    return Blocker("budget", "budget", branch.name, message=message)


def _hours(milliseconds: int) -> str:
    return f"{milliseconds / 3_600_000:.4g}"


def behind(need: Amount, queue: str, blocker: Blocker) -> Blocker:
    """For a job that would fit, but would delay one that comes before it."""
    message = f"jobs ahead wait first: {blocker.message}"
    requested = part(need, blocker.limit) if blocker.limit in UNITS else 0
    return Blocker(blocker.limit, "order", queue, requested, blocker.used, blocker.maximum, message)


def no_room(group: Group) -> Blocker:
    """What the nodes have too little of."""
    nodes = group.machine.nodes
    if not nodes:
        return Blocker("node", "missing", "", message=f"backend {group.machine.backend} has no node now")
    if not group.single:
        pods = " and ".join(
            f"{counted(count, 'pod')} of {quantity('cpu', need.cpu_millis)}" for count, need in group.pods
        )
        free = sum(max(0, _free(node, "cpu")) for node in nodes)
        message = f"its {pods} do not fit on the nodes one by one, which have {format_cpu(free)} CPUs free together"
        return Blocker("node", "node", "", message=message)
    need = group.pods[0][1]
    return _shared(need, nodes) or _single(need, nodes)


def _free(node: Node, limit: str) -> int:
    extra = node.view.per_job
    return {
        "cpu": node.cpu - extra.cpu_millis,
        "memory": node.memory - extra.memory_bytes,
        "gpu": node.gpu,
    }[limit]


def _shared(need: Amount, nodes: list[Node]) -> Blocker | None:
    """What all nodes together have too little of, if that is what is missing."""
    beside = nodes[0].view.per_job
    for bound in nodes[0].view.shared:
        each = part(beside, bound.limit)
        taken = sum(part(node.view.size, bound.limit) - _free(node, bound.limit) for node in nodes)
        wanted = part(need, bound.limit) + each
        free = max(0, bound.size - taken)
        if wanted > free:
            extra = f" ({show(bound.limit, each)} of it beside what it asked for)" if each else ""
            message = (
                f"{bound.called} has {show(bound.limit, free)} of {quantity(bound.limit, bound.whole)} free, "
                f"the job needs {show(bound.limit, wanted)}{extra}"
            )
            return Blocker(bound.limit, "node", "", wanted, bound.whole - free, bound.whole, message)
    return None


def _single(need: Amount, nodes: list[Node]) -> Blocker:
    nodes = [node for node in nodes if need.gpu or not node.gpu_only] or nodes
    best = max(nodes, key=lambda node: _free(node, "cpu"))
    for limit in ("cpu", "memory", "gpu"):
        wanted, free, size = part(need, limit), _free(best, limit), part(best.view.size, limit)
        if wanted > free:
            message = (
                f"{best.view.called} has {show(limit, max(0, free))} of {quantity(limit, size)} free, "
                f"the job needs {show(limit, wanted)}"
            )
            together = sum(max(0, _free(node, limit)) for node in nodes)
            if together >= wanted:
                message += f" on one node; all together have {show(limit, together)}"
            return Blocker(limit, "node", "", wanted, size - free, size, message)
    if best.view.jobs is not None and best.slots < 1:
        message = f"{best.view.called} takes {counted(best.view.jobs, 'job')} at once, and runs as many"
        return Blocker("runningJobs", "node", "", 1, best.view.jobs - best.slots, best.view.jobs, message)
    return Blocker("node", "node", "", message="no single node has enough room free")
