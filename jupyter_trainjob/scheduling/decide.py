"""One pass of admission: priority, then first come, first served, within every limit.

A job that its owner's own limit stops is stepped over: others need not wait for it. A job that its queue's limit or
the nodes' size stops holds back all behind it (in its queue, or on its backend): else small jobs would starve big
ones. Fair share, borrowing and backfill (which lets small jobs into the gaps without that harm) belong in
:func:`order` and :func:`decide` when they come.

A queue whose jobs something else orders and admits (``elsewhere``) has no order and no room here: its jobs pass as soon
as no gate and no limit of their owner's stops them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ..resources.words import counted
from .model import (
    NOTHING,
    UNITS,
    Admission,
    Amount,
    Blocker,
    Ceiling,
    Decision,
    NodeView,
    QueuedView,
    Snapshot,
    Waiting,
    quantity,
    show,
)


def order(queued: Iterable[QueuedView]) -> list[QueuedView]:
    """The queued jobs as they come to their turn: priority down, then time of queueing, then uid."""
    return sorted(queued, key=rank)


def rank(job: QueuedView) -> tuple[int, float, str]:
    """What a job is ordered by; smaller comes first."""
    return (-job.priority, job.since, job.uid)


def decide(snapshot: Snapshot) -> Decision:
    """Which queued jobs start now, and why each of the others does not."""
    use = Use(snapshot)
    admissions: list[Admission] = []
    waiting: list[Waiting] = []
    positions: dict[str, int] = defaultdict(int)
    closed_queues: dict[str, Blocker] = {}
    closed_backends: dict[str, Blocker] = {}
    for job in order(snapshot.queued):
        blocker, node = _judge(job, snapshot, use, closed_queues, closed_backends)
        if blocker is None:
            use.add(job.queue, snapshot.queues[job.queue].backend, job.owner, node, job.need)
            admissions.append(Admission(job.uid, node))
            continue
        position = None
        if blocker.scope != "gate":
            positions[job.queue] += 1
            position = positions[job.queue]
        waiting.append(Waiting(job.uid, position, blocker))
        if blocker.scope == "queue":
            closed_queues.setdefault(job.queue, blocker)
        elif blocker.scope == "node":
            closed_backends.setdefault(snapshot.queues[job.queue].backend, blocker)
    return Decision(tuple(admissions), tuple(waiting))


class Use:
    """What is in use by queue, by user in a queue, and by node; grows as a pass admits."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.queues: dict[str, Amount] = defaultdict(Amount)
        self.users: dict[tuple[str, str], Amount] = defaultdict(Amount)
        self.nodes: dict[tuple[str, str], Amount] = defaultdict(Amount)
        for active in snapshot.active:
            if active.waits:
                self.users[active.queue, active.owner] += active.need
            else:
                self.add(active.queue, active.backend, active.owner, active.node, active.need)

    def add(self, queue: str, backend: str, owner: str, node: str, need: Amount) -> None:
        """Count one more attempt."""
        self.queues[queue] += need
        self.users[queue, owner] += need
        self.nodes[backend, node] += need


def _judge(
    job: QueuedView,
    snapshot: Snapshot,
    use: Use,
    closed_queues: dict[str, Blocker],
    closed_backends: dict[str, Blocker],
) -> tuple[Blocker | None, str]:
    """The first thing that stops ``job`` (None: nothing does) and the node it would start on."""
    if job.gate:
        return Blocker("gate", "gate", job.queue, message=job.gate), ""
    queue = snapshot.queues.get(job.queue)
    if queue is None:
        return Blocker("queue", "missing", job.queue, message=f"queue {job.queue} no longer exists"), ""
    if not queue.open:
        return Blocker("admission", "paused", job.queue, message=f"queue {job.queue} is paused"), ""
    user = use.users[job.queue, job.owner]
    over = queue.per_user.exceeded_by(user + job.need)
    if over:
        return _limit_blocker(over, "user", job, user, queue.per_user), ""
    if queue.elsewhere:
        return None, ""
    if job.queue in closed_queues:
        return _behind(job, closed_queues[job.queue]), ""
    used = use.queues[job.queue]
    over = queue.limits.exceeded_by(used + job.need)
    if over:
        return _limit_blocker(over, "queue", job, used, queue.limits), ""
    if queue.backend in closed_backends:
        return _behind(job, closed_backends[queue.backend]), ""
    nodes = [node for node in snapshot.nodes if node.backend == queue.backend]
    chosen = _place(job.need, nodes, use)
    if chosen is None:
        return _node_blocker(job, queue.backend, nodes, use), ""
    return None, chosen.name


def _taken(node: NodeView, use: Use) -> Amount:
    """What of a node is in use, with what its jobs take beside what they asked for."""
    used = use.nodes[node.backend, node.name]
    if node.per_job is NOTHING:
        return used
    return Amount(
        used.jobs,
        used.cpu_millis + node.per_job.cpu_millis * used.jobs,
        used.memory_bytes + node.per_job.memory_bytes * used.jobs,
        used.gpu,
    )


def _fits(need: Amount, node: NodeView, used: Amount) -> bool:
    if (node.jobs is not None and used.jobs >= node.jobs) or (node.gpu_only and not need.gpu):
        return False
    free = node.size - used
    return need.cpu_millis <= free.cpu_millis and need.memory_bytes <= free.memory_bytes and need.gpu <= free.gpu


def _place(need: Amount, nodes: list[NodeView], use: Use) -> NodeView | None:
    """The fullest node that still has room (best fit by CPU): it keeps big gaps whole."""
    fitting = [node for node in nodes if _fits(need, node, _taken(node, use))]
    if not fitting:
        return None
    return min(
        fitting,
        key=lambda node: (node.size.cpu_millis - _taken(node, use).cpu_millis, node.name),
    )


def _part(amount: Amount | Ceiling, limit: str) -> int:
    name = {"runningJobs": "jobs", "cpu": "cpu_millis", "memory": "memory_bytes", "gpu": "gpu"}[limit]
    return int(getattr(amount, name) or 0)


def _limit_blocker(limit: str, scope: str, job: QueuedView, used: Amount, ceiling: Ceiling) -> Blocker:
    maximum, in_use = _part(ceiling, limit), _part(used, limit)
    if scope == "user":
        allows, use = "allows you", "you have" if limit == "runningJobs" else "you use"
    else:
        allows, use = "allows", "has" if limit == "runningJobs" else "its jobs use"
    return Blocker(
        limit,
        "user" if scope == "user" else "queue",
        job.queue,
        _part(job.need, limit),
        in_use,
        maximum,
        f"queue {job.queue} {allows} {quantity(limit, maximum)} and {use} {show(limit, in_use)}",
    )


def _behind(job: QueuedView, blocker: Blocker) -> Blocker:
    """For a job that would fit, perhaps, but comes after one that does not."""
    message = f"jobs ahead wait first: {blocker.message}"
    requested = _part(job.need, blocker.limit) if blocker.limit in UNITS else 0
    return Blocker(blocker.limit, "order", job.queue, requested, blocker.used, blocker.maximum, message)


def _shared_blocker(job: QueuedView, nodes: list[NodeView], use: Use) -> Blocker | None:
    """What all nodes together have too little of, if that is what is missing."""
    backend, beside = nodes[0].backend, nodes[0].per_job
    used = sum((amount for (name, _), amount in use.nodes.items() if name == backend), Amount())
    for bound in nodes[0].shared:
        each = _part(beside, bound.limit)
        taken, need = _part(used, bound.limit) + each * used.jobs, _part(job.need, bound.limit) + each
        free = max(0, bound.size - taken)
        if need > free:
            extra = f" ({show(bound.limit, each)} of it beside what it asked for)" if each else ""
            message = (
                f"{bound.called} has {show(bound.limit, free)} of {quantity(bound.limit, bound.whole)} free, "
                f"the job needs {show(bound.limit, need)}{extra}"
            )
            return Blocker(bound.limit, "node", job.queue, need, bound.whole - free, bound.whole, message)
    return None


def _node_blocker(job: QueuedView, backend: str, nodes: list[NodeView], use: Use) -> Blocker:
    if not nodes:
        return Blocker("node", "missing", job.queue, message=f"backend {backend} has no node now")
    if shared := _shared_blocker(job, nodes, use):
        return shared
    nodes = [node for node in nodes if job.need.gpu or not node.gpu_only] or nodes
    best = max(nodes, key=lambda node: node.size.cpu_millis - _taken(node, use).cpu_millis)
    used = _taken(best, use)
    for limit in ("cpu", "memory", "gpu"):
        need, in_use, size = (_part(amount, limit) for amount in (job.need, used, best.size))
        if need > size - in_use:
            message = (
                f"{best.called} has {show(limit, max(0, size - in_use))} of {quantity(limit, size)} free, "
                f"the job needs {show(limit, need)}"
            )
            return Blocker(limit, "node", job.queue, need, in_use, size, message)
    if best.jobs is not None and used.jobs >= best.jobs:
        message = f"{best.called} takes {counted(best.jobs, 'job')} at once, and runs as many"
        return Blocker("runningJobs", "node", job.queue, 1, used.jobs, best.jobs, message)
    return Blocker("node", "node", job.queue, message="no single node has enough room free")
