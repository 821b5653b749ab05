"""The policy again, slowly: every rank worked out for every job at every step, straight from docs/scheduling.md.

Of the package it uses the arithmetic of nodes and usage, which have tests of their own, and none of its order, indexes
or caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jupyter_trainjob.scheduling.model import UNLIMITED, ActiveView, Amount, Ceiling, QueuedView, QueueView, Snapshot
from jupyter_trainjob.scheduling.nodes import Machine
from jupyter_trainjob.scheduling.usage import Clock, Weights, reference_for

Name = tuple[str, str]
"""A queue and "", or a queue and a user in it."""


@dataclass
class Naive:
    """One state, looked at without any memory."""

    snapshot: Snapshot

    def __post_init__(self) -> None:
        view = self.snapshot
        self.now, self.policy = view.time, view.policy
        self.weights = view.weights or Weights.of(node.size for node in view.nodes)
        reference = view.ledger.reference if view.ledger else reference_for(self.now, self.policy.half_life_seconds)
        self.clock = Clock(reference, self.policy.half_life_seconds)
        window = self.policy.window_seconds
        self.horizon = (math.floor(self.now / window) + 2) * window
        self.usage: dict[Name, int] = {}
        self.use: dict[Name, Amount] = {}
        self.spent: dict[Name, int] = {}
        self.below: dict[Name, list[ActiveView]] = {}
        self.last: dict[Name, float] = {}
        names = {(name, "") for name in view.queues}
        for item in (*view.queued, *view.active, *view.past):
            gated = isinstance(item, QueuedView) and item.gate
            if item.queue in view.queues and not gated:
                names.add((item.queue, item.owner))
        self.names = names
        for past in view.past:
            rate = self.weights.billing(past.need)
            for name in self.path(past.queue, past.owner):
                self.usage[name] = self.usage.get(name, 0) + self.clock.charge(rate, past.since, past.end)
                budget = self.budget(name)
                if budget and budget.window(past.since) == budget.window(self.now):
                    cost = round(past.need.cpu_millis * max(0.0, past.end - past.since))
                    self.spent[name] = self.spent.get(name, 0) + cost
            if not past.overtook:
                leaf = (past.queue, past.owner)
                self.last[leaf] = max(self.last.get(leaf, 0.0), past.since)
        for active in view.active:
            if active.waits:  # of the limits and the budgets it has its part, wherever the window is
                for name in self.path(active.queue, active.owner):
                    self.use[name] = self.use.get(name, Amount()) + active.need
                    self.below.setdefault(name, []).append(active)
                    cost = active.need.cpu_millis * active.time_limit_seconds
                    self.spent[name] = self.spent.get(name, 0) + cost
                continue
            rate = self.weights.billing(active.need)
            for name in self.path(active.queue, active.owner):
                charge = rate * (self.clock.growth(self.horizon) - self.clock.growth(active.since))
                self.usage[name] = self.usage.get(name, 0) + charge
                self.use[name] = self.use.get(name, Amount()) + active.need
                self.below.setdefault(name, []).append(active)
                budget = self.budget(name)
                if budget and budget.window(active.since) == budget.window(self.now):
                    cost = active.need.cpu_millis * active.time_limit_seconds
                    self.spent[name] = self.spent.get(name, 0) + cost
            if not active.overtook:
                leaf = (active.queue, active.owner)
                self.last[leaf] = max(self.last.get(leaf, 0.0), active.since)
        self.machines = {
            queue.backend: Machine(queue.backend, [node for node in view.nodes if node.backend == queue.backend])
            for queue in view.queues.values()
        }
        for active in view.active:
            end = end_of(active)
            places = active.places or ((active.node, active.need),)
            if not active.waits:
                self.machines[active.backend].start(active.uid, end, places)
        self.jobs = [job for job in view.queued if not job.gate and job.queue in view.queues]

    def queue(self, name: str) -> QueueView:
        return self.snapshot.queues[name]

    def path(self, queue: str, owner: str) -> list[Name]:
        """From the user up."""
        found: list[Name] = [(queue, owner)]
        while queue in self.snapshot.queues:
            found.append((queue, ""))
            queue = self.queue(queue).parent
        return found

    def maximum(self, name: Name) -> Ceiling:
        if name[1].endswith(UNLIMITED):
            return Ceiling()
        return self.queue(name[0]).per_user if name[1] else self.queue(name[0]).limits

    def budget(self, name: Name):  # type: ignore[no-untyped-def]
        if name[1].endswith(UNLIMITED):
            return None
        return self.queue(name[0]).per_user_budget if name[1] else self.queue(name[0]).budget

    def weight(self, name: Name) -> int:
        return (
            self.queue(name[0]).shares.get(name[1].removesuffix(UNLIMITED), 1)
            if name[1]
            else self.queue(name[0]).weight
        )

    def same(self, name: Name) -> set[Name]:
        """All names of a user in a queue, or of a queue."""
        return {name} if not name[1] else {(name[0], one) for one in (person(name[1]), person(name[1]) + UNLIMITED)}

    def siblings(self, name: Name) -> list[Name]:
        above = name[0] if name[1] else self.queue(name[0]).parent
        return [one for one in self.names if (one[0] if one[1] else self.queue(one[0]).parent) == above]

    def used(self, name: Name) -> Amount:
        return self.use.get(name, Amount())

    def borrows(self, name: Name) -> int:
        owed = self.queue(name[0]).guaranteed if not name[1] else Ceiling()
        if owed == Ceiling():
            return 1
        used = self.used(name)
        owes = (
            (not owed.jobs or used.jobs < owed.jobs)
            and (not owed.cpu_millis or used.cpu_millis < owed.cpu_millis)
            and (not owed.memory_bytes or used.memory_bytes < owed.memory_bytes)
            and (not owed.gpu or used.gpu < owed.gpu)
        )
        return 0 if owes else 1

    def rank(self, job: QueuedView, top: Name | None = None):  # type: ignore[no-untyped-def]
        """Its rank among all jobs, or among those below ``top``."""
        turn = turn_of(job)
        path = []
        names = self.path(job.queue, job.owner)
        if top is not None:
            names = names[: names.index(top)]
        for index, name in enumerate(reversed(names)):
            front = -1 if name[1] and job.front else 0
            share = sum(self.usage.get(one, 0) for one in self.same(name)) / self.weight(name)
            if index and share:
                above = list(reversed(names))[index - 1]
                people = {(one[0], one[1].removesuffix(UNLIMITED)) for one in self.siblings(name)}
                total = sum(self.weight(one) for one in people)
                share = share * total / self.usage[above]
            path.append((front, self.borrows(name), share))
        if job.claim:
            return (-math.inf, job.claim, tuple(path), turn, job.uid)
        level = self.level(job)
        if job.front:
            level = min(
                self.level(one)
                for one in self.jobs
                if not one.claim and (job.queue, "") in self.path(one.queue, one.owner)
            )
        return (*level, tuple(path), turn, job.uid)

    def level(self, job: QueuedView) -> tuple[float, float]:
        """Its own, raised by its age."""
        priority = max(job.priority, self.queue(job.queue).top_priority) if job.front else job.priority
        mine = self.alive(job.queue, job.owner)
        anchor, steps = max(job.since, self.last.get((job.queue, job.owner), 0.0)), 0
        if mine and min(mine) == (turn_of(job), job.uid):
            steps = max(0, math.floor((self.now - anchor) / self.policy.ageing_seconds))
        return (-(priority + steps), anchor if steps else math.inf)

    def alive(self, queue: str, owner: str) -> list[tuple[float, str]]:
        """Turn and uid of the user's jobs there that could start if nothing else were there."""
        found = []
        for job in self.jobs:
            if (job.queue, job.owner) != (queue, owner):
                continue
            cost = job.need.cpu_millis * job.time_limit_seconds
            names = self.path(queue, owner)
            if any(self.maximum(name).exceeded_by(job.need) for name in names):
                continue
            if any((budget := self.budget(name)) and cost > budget.cpu_milliseconds for name in names):
                continue
            if self.ever(job):
                found.append((turn_of(job), job.uid))
        return found

    def ever(self, job: QueuedView) -> bool:
        """Whether the nodes have room for it when they are empty."""
        backend = self.queue(job.queue).backend
        if self.queue(job.queue).local_queue:
            return True
        empty = Machine(backend, [node for node in self.snapshot.nodes if node.backend == backend])
        return empty.place(empty.shape(job, 0).group) is not None

    def passes(self, job: QueuedView, names: list[Name]) -> bool:
        """Whether nothing of these branches, the lowest first, stops it."""
        for index, name in enumerate(names):
            queue = self.queue(name[0])
            if not name[1] and not queue.open:
                return False
            if self.maximum(name).exceeded_by(self.used(name) + job.need):
                return False
            budget = self.budget(name)
            cost = job.need.cpu_millis * job.time_limit_seconds
            left = budget.cpu_milliseconds - self.spent.get(name, 0) if budget else math.inf
            if cost > left:
                return False
            saver = self.saver(name) if budget else None
            saved = saver.need.cpu_millis * saver.time_limit_seconds if saver is not None else 0
            if saver is not None and self.rank(saver, name) < self.rank(job, name) and cost > left - saved:
                return False
            holder = self.holder(name)
            if holder is None or self.rank(holder, name) >= self.rank(job, name):
                continue
            if not self.leaves_room(name, holder, job):
                return False
            del index
        return True

    def saver(self, name: Name) -> QueuedView | None:
        """The first below ``name`` that its budget pays for, that nothing below stops, and that could ever start."""
        left = self.budget(name).cpu_milliseconds - self.spent.get(name, 0)
        found = []
        for job in self.jobs:
            names = self.path(job.queue, job.owner)
            cost = job.need.cpu_millis * job.time_limit_seconds
            if name not in names or cost > left or not self.passes(job, names[: names.index(name)]):
                continue
            above = names[names.index(name) :]
            if any(self.maximum(one).exceeded_by(job.need) for one in above):
                continue
            if any((budget := self.budget(one)) and cost > budget.cpu_milliseconds for one in above):
                continue
            if self.ever(job):
                found.append(job)
        return min(found, key=lambda job: self.rank(job, name), default=None)

    def holder(self, name: Name) -> QueuedView | None:
        """The first below ``name`` that its limit stops, and nothing below."""
        maximum = self.maximum(name)
        found = []
        for job in self.jobs:
            names = self.path(job.queue, job.owner)
            if name not in names or not maximum.exceeded_by(self.used(name) + job.need):
                continue
            if maximum.exceeded_by(job.need) or not self.passes(job, names[: names.index(name)]):
                continue
            found.append(job)
        return min(found, key=lambda job: self.rank(job, name), default=None)

    def leaves_room(self, name: Name, holder: QueuedView, job: QueuedView) -> bool:
        maximum = self.maximum(name)
        runs = sorted(
            (
                math.inf if one.waits else -math.inf if one.ending else one.since + one.time_limit_seconds,
                one.uid,
                one.need,
            )
            for one in self.below.get(name, [])
        )
        use, start = self.used(name), -math.inf
        for end, _, need in runs:
            if end > start and maximum.exceeded_by(use + holder.need) is None:
                break
            start, use = end, use - need
        if self.now + job.time_limit_seconds <= max(self.now, start) + 1e-3:
            return True
        return maximum.exceeded_by(use + holder.need + job.need) is None

    def next(self) -> tuple[QueuedView, tuple[tuple[str, Amount], ...]] | None:
        """The first in rank that may start."""
        held: dict[str, tuple[float, dict]] = {}  # type: ignore[type-arg]
        for job in sorted(self.jobs, key=self.rank):
            if not self.passes(job, self.path(job.queue, job.owner)):
                continue
            if self.queue(job.queue).local_queue:
                return job, (("", job.need),)
            machine = self.machines[self.queue(job.queue).backend]
            group = machine.shape(job, 0).group
            if machine.place(group) is None:
                start, caps = machine.reservation(group, self.now)
                if start < math.inf and machine.backend not in held:
                    held[machine.backend] = (start, caps)  # type: ignore[assignment]
                continue
            start, caps = held.get(machine.backend, (math.inf, {}))
            short = self.now + job.time_limit_seconds <= start + 1e-3
            places = machine.place(group, {} if short else caps)
            if places is not None:
                return job, places
        return None


def person(owner: str) -> str:
    return owner.removesuffix(UNLIMITED)


def end_of(active: ActiveView) -> float:
    """When it has ended at the latest."""
    if active.waits:
        return math.inf
    return -math.inf if active.ending else max(active.since, active.begun) + active.time_limit_seconds


def turn_of(job: QueuedView) -> float:
    """What orders one user's jobs of equal level in a queue."""
    if job.claim:
        return -2e14 + job.claim
    return -1e14 - job.front if job.front else job.since


def naive(snapshot: Snapshot) -> list[tuple[str, str, bool]]:
    """uid, node and whether it overtook, of all that start, in turn."""
    snapshot = replace(snapshot, now=snapshot.time)
    found = []
    while True:
        state = Naive(snapshot)
        step = state.next()
        if step is None:
            return found
        job, places = step
        overtook = min(state.alive(job.queue, job.owner))[1] != job.uid
        found.append((job.uid, places[0][0], overtook))
        queue = snapshot.queues[job.queue]
        waits = queue.local_queue != ""
        active = ActiveView(
            job.uid, job.owner, job.queue, queue.backend, places[0][0], job.need, snapshot.time, job.time_limit_seconds,
            waits, places if job.pods and not waits else (), job.preemptible, overtook,
        )  # fmt: skip
        queued = tuple(one for one in snapshot.queued if one.uid != job.uid)
        snapshot = replace(snapshot, queued=queued, active=(*snapshot.active, active))
