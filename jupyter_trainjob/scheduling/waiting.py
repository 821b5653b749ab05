"""Why each waiting job waits, and its place: worked out from the state that a pass left."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from . import words
from .model import Blocker, QueuedView, Waiting
from .nodes import Group, Machine, Shape
from .tree import Branch

if TYPE_CHECKING:
    from .engine import Engine, Held

Place = tuple[float, float, int, float, float, str]


def waiting(engine: Engine) -> tuple[Waiting, ...]:
    """All that wait, by their places; those behind gates last."""
    queues: dict[str, list[tuple[Place, str]]] = {}
    reasons: dict[str, Blocker] = {}
    why = _Reasons(engine)
    for leaf in engine.leaves.values():
        twin = leaf.twin if leaf.twin is not None and leaf.twin.queues else None
        if leaf.queues and (twin is None or leaf < twin):
            places = _places(engine, [leaf] if twin is None else [leaf, twin], why, reasons)
            queues.setdefault(leaf.name, []).extend(places)
    gated = []
    for job in engine.aside.values():
        reasons[job.uid] = _aside(engine, job)
        if job.gate:
            gated.append(Waiting(job.uid, None, reasons[job.uid]))
        else:
            place = (-job.priority, math.inf, 0, 0.0, job.since, job.uid)
            queues.setdefault(job.queue, []).append((place, job.uid))
    found: list[tuple[Place, Waiting]] = []
    for listed in queues.values():
        listed.sort()
        found += [(place, Waiting(uid, number, reasons[uid])) for number, (place, uid) in enumerate(listed, 1)]
    found.sort(key=lambda pair: pair[0])
    gated.sort(key=lambda one: one.uid)
    return (*(one for _, one in found), *gated)


def _places(
    engine: Engine, leaves: list[Branch], why: _Reasons, reasons: dict[str, Blocker]
) -> list[tuple[Place, str]]:
    """A user's waiting jobs, those that are approved among the others, by place among those of the queue: as if each
    that starts were charged as it is at admission, and nothing else happened (start-time fair queueing: Goyal, Vin,
    Cheng, 1996).
    """
    listed = [one for leaf in leaves for one in _listed(engine, leaf, why, reasons)]
    listed.sort()
    usage, weight, found = engine.usage(leaves[0]), leaves[0].weight, []  # both leaves have both in common
    for (level, anchor), turn, uid, charge in listed:
        front = -1 if engine.jobs[uid].front else 0
        found.append(((level, anchor, front, usage / weight, turn, uid), uid))
        usage += charge
    return found


def _listed(
    engine: Engine, leaf: Branch, why: _Reasons, reasons: dict[str, Blocker]
) -> list[tuple[tuple[float, float], float, str, int]]:
    """Level and anchor, turn, uid and charge of each of the leaf's jobs; ``reasons`` learns why it waits."""
    listed: list[tuple[tuple[float, float], float, str, int]] = []
    head = engine.head(leaf)
    first = head[0] if head is not None else None
    for shape, entries in leaf.queues.items():
        reason = why.reason(leaf, shape)
        rank = engine.rank_in_leaf(leaf, shape)
        charge = engine.weights.billing(shape.group.need) * (engine.horizon - engine.clock.growth(engine.now))
        for turn, uid in entries:
            if (shape, turn, uid) in engine.garbage:
                continue
            reasons[uid] = reason
            aged = rank is not None and ((turn, uid) == first or engine.jobs[uid].front > 0)
            listed.append(((rank[0], rank[1]) if aged and rank else (-shape.priority, math.inf), turn, uid, charge))
    return listed


def _aside(engine: Engine, job: QueuedView) -> Blocker:
    if job.gate:
        limit = "hold" if job.gate_kind == "held" else job.gate_kind
        return Blocker(limit, "gate", job.queue, message=job.gate, kind=job.gate_kind)
    return Blocker("queue", "missing", job.queue, message=f"queue {job.queue} no longer exists")


class _Reasons:
    """Why jobs of a shape wait; what is the same for many is worked out once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rooms: dict[Group, Blocker] = {}
        self.helds: dict[Machine, Held | None] = {}

    def reason(self, leaf: Branch, shape: Shape) -> Blocker:
        """The first thing in the way of the leaf's jobs of a shape."""
        engine, group, queue, path = self.engine, shape.group, leaf.name, leaf.line
        for branch in path:
            if branch.closed:
                return words.paused(branch.name, queue)
        for branch in path:
            if limit := branch.over(group):
                return words.limit(limit, branch, group.need)
        for branch in path:
            budget = branch.budget
            if budget is not None:
                spent = branch.used_up(engine.now)
                if spent + shape.dearest > budget.cpu_milliseconds:
                    return words.budget(branch, budget, spent, shape.dearest, engine.now)
                saved = self._saved(branch, leaf, shape)
                if spent + saved + shape.dearest > budget.cpu_milliseconds:
                    first = words.budget(branch, budget, spent + saved, shape.dearest, engine.now)
                    return words.behind(group.need, queue, first)
        if not group.machine.fits(group):
            return self.room(queue, group)
        for branch in path:
            holder = engine.holder(branch) if branch.maximum is not None else None
            if holder is not None and not engine.leaves_room(branch, shape, holder[1]):
                wanted = engine.jobs[holder[0][4]].need
                return words.behind(group.need, queue, words.limit(branch.over(holder[1]), branch, wanted))
        held = self.held(group.machine)
        if held is not None:
            return words.behind(group.need, queue, self.room(queue, held.group))
        return Blocker("order", "order", queue, message="it comes at the next look")

    def _saved(self, branch: Branch, leaf: Branch, shape: Shape) -> int:
        """What is reserved of the branch's budget for another than the leaf's first of the shape."""
        saver, mine = self.engine.saver(branch), self.engine.rank_in_leaf(leaf, shape)
        return 0 if saver is None or (mine is not None and mine[4] == saver[0][4]) else saver[1]

    def held(self, machine: Machine) -> Held | None:
        """The reservation on the machine."""
        if machine not in self.helds:
            self.helds[machine] = self.engine.held(machine)
        return self.helds[machine]

    def room(self, queue: str, group: Group) -> Blocker:
        """What the nodes have too little of."""
        if group not in self.rooms:
            self.rooms[group] = words.no_room(group)
        return replace(self.rooms[group], queue=queue)
