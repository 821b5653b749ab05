"""The state of a pass: all that waits and runs, kept so that the next decision costs what changed, not all there is.

``Engine(snapshot)`` (:mod:`.engine`) is the fresh state; :meth:`State.submit`, :meth:`State.remove`, :meth:`State.end`
and :meth:`State.advance` bring it up to date. Whatever the way there, equal states decide equally: it is a cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from .model import UNLIMITED, ActiveView, Ceiling, PastView, QueuedView, Snapshot
from .nodes import Elsewhere, Machine, Places, Shape
from .shapes import ELSEWHERE, Shapes
from .timers import BUDGET, PROMOTION, ROOM, Timers
from .tree import Branch, delist, enlist
from .usage import Clock, Weights, cost, reference_for


@dataclass(slots=True)
class Active:
    """A running attempt, with what it was charged."""

    view: ActiveView
    leaf: Branch | None
    machine: Machine | None
    rate: int
    end: float
    places: Places


class State(Shapes):
    """All that a decision needs, indexed by shape of job."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.policy = snapshot.policy
        self.now = snapshot.time
        self.views = snapshot.queues
        reference = reference_for(self.now, self.policy.half_life_seconds)
        if snapshot.ledger is not None:
            reference = snapshot.ledger.reference
        self.clock = Clock(reference, self.policy.half_life_seconds)
        self.weights = snapshot.weights or Weights.of(node.size for node in snapshot.nodes)
        self.root = Branch("", "", None, 1, Ceiling(), Ceiling(), None)
        self.queues: dict[str, Branch] = {}
        self.leaves: dict[tuple[str, str], Branch] = {}
        self.jobs: dict[str, QueuedView] = {}
        self._shapes: dict[str, Shape] = {}
        """Of the waiting jobs that were asked for."""
        self.garbage: set[tuple[Shape, float, str]] = set()
        """Entries of jobs that went while they were not first."""
        self.aside: dict[str, QueuedView] = {}
        """Behind a gate, or in a queue that is not there."""
        self.fronted: dict[Branch, int] = {}
        """Users in queues, with how many of their waiting jobs were moved to the front."""
        self.claims: dict[str, QueuedView] = {}
        """Of the waiting jobs, those that others end for."""
        self.active: dict[str, Active] = {}
        self.preemptible: dict[str, Active] = {}
        self.ending: dict[str, Active] = {}
        self.timers = Timers(self._is_there)
        self._grown = (math.nan, 0)
        self._sample()
        self._build_machines(snapshot)
        self._machines_of = {name: self.machine_of(view) for name, view in self.views.items()}
        self.alone = len(self.machines) == 1
        """Whether there is one backend, with one kind of room."""
        self.largest = next((one.everything for one in self.machines.values()), Machine("", ()).everything)
        """The most that any job needs, where there is one backend."""
        for name in snapshot.queues:
            self._queue(name, ())
        self.owing = [
            branch
            for name, branch in sorted(self.queues.items())
            if branch.guaranteed is not None and self.views[name].reclaim
        ]
        """Queues whose guarantee is taken back for the jobs in them and below."""
        self.lenders = [
            branch
            for _, branch in sorted(self.queues.items())
            if branch.maximum is not None and any(child.guaranteed is not None for child in branch.children.values())
        ]
        only = next(iter(self.root.children.values())) if len(self.root.children) == 1 else self.root
        plain = not only.closed and only.maximum is None and only.budget is None
        self.summit = only if plain else self.root
        """Where to ask for the first of all: where one queue is above all others and stops nobody, below it."""
        self._count_past(snapshot)
        for active in snapshot.active:
            self.begin(active)
        self._load(snapshot.queued)

    # --- building ------------------------------------------------------------------------------

    def _build_machines(self, snapshot: Snapshot) -> None:
        self.machines: dict[str, Machine] = {}
        for backend in {view.backend: None for view in snapshot.queues.values()}:
            self.machines[backend] = Machine(backend, [node for node in snapshot.nodes if node.backend == backend])
        for backend in {view.backend: None for view in snapshot.queues.values() if view.elsewhere}:
            self.machines[backend + ELSEWHERE] = Elsewhere(backend)

    def _queue(self, name: str, seen: tuple[str, ...]) -> Branch:
        if name in self.queues:
            return self.queues[name]
        view = self.views[name]
        parent = self.root
        if view.parent in self.views and view.parent != name and view.parent not in seen:
            parent = self._queue(view.parent, (*seen, name))
            if name in self.queues:
                return self.queues[name]
        branch = Branch(name, "", parent, view.weight, view.limits, view.guaranteed, view.budget)
        branch.closed = not view.open
        self._add(branch, parent, name)
        self.queues[name] = branch
        return branch

    def _add(self, branch: Branch, parent: Branch, name: str) -> None:
        parent.children[name] = branch
        parent.below += branch.weight
        if branch.budget is not None:
            branch.reckon(self.now)
            self.timers.set((branch.budget.window(self.now) + 1) * branch.budget.window_seconds, BUDGET, branch)

    def leaf(self, queue: str, owner: str) -> Branch:
        """The user in the queue; ``KeyError`` where the queue is not there."""
        leaf = self.leaves.get((queue, owner))
        if leaf is None:
            view, parent = self.views[queue], self.queues[queue]
            free = owner.endswith(UNLIMITED)
            limits, budget = (Ceiling(), None) if free else (view.per_user, view.per_user_budget)
            weight = view.shares.get(owner.removesuffix(UNLIMITED), 1)
            leaf = Branch(queue, owner, parent, weight, limits, Ceiling(), budget)
            self.leaves[queue, owner] = leaf
            self._add(leaf, parent, f"user:{owner}")
            twin = self.leaves.get((queue, owner.removesuffix(UNLIMITED) if free else owner + UNLIMITED))
            if twin is not None:
                leaf.twin, twin.twin = twin, leaf
                parent.below -= leaf.weight
        return leaf

    def _count_past(self, snapshot: Snapshot) -> None:
        if snapshot.ledger is not None:
            for (queue, owner), used in snapshot.ledger.used.items():
                if queue in self.views:
                    leaf = self.leaf(queue, owner)
                    leaf.known = True
                    for branch in leaf.line:
                        branch.base += used
            for (queue, owner, window), spent in snapshot.ledger.spent.items():
                if queue in self.views:
                    branch = self.leaf(queue, owner) if owner else self.queues[queue]
                    branch.spent[window] = branch.spent.get(window, 0) + spent
                    branch.reckon(self.now)
            for (queue, owner), last in snapshot.ledger.last.items():
                if queue in self.views:
                    leaf = self.leaf(queue, owner)
                    leaf.known = True
                    leaf.last = max(leaf.last, last)
        for past in snapshot.past:
            self.count(past)

    def count(self, past: PastView) -> None:
        """Charge an attempt that has ended and was never here."""
        if past.queue not in self.views:
            return
        leaf = self.leaf(past.queue, past.owner)
        leaf.known = True
        charge = self.clock.charge(self.weights.billing(past.need), past.since, past.end)
        for branch in leaf.line:
            branch.base += charge
            if branch.budget is not None:
                branch.spend(cost(past), past.since, self.now)
        if not past.overtook:
            leaf.last = max(leaf.last, past.since)
        self.touch(leaf)
        if leaf.twin is not None:
            self.touch(leaf.twin)

    def _load(self, queued: tuple[QueuedView, ...]) -> None:
        jobs, leaves = self.jobs, self.leaves
        touched: list[list[tuple[float, str]]] = []
        machines = self._machines_of
        for job in queued:
            queue = job.queue
            if job.gate or queue not in machines:
                self.aside[job.uid] = job
                continue
            leaf = leaves.get((queue, job.owner)) or self.leaf(queue, job.owner)
            plain = not (job.front or job.claim)
            shape = machines[queue].shape(job, job.priority if plain else self.priority_of(job))
            waiting = leaf.queues.get(shape)
            if waiting is None:
                waiting = leaf.queues[shape] = []
                touched.append(waiting)
                enlist(leaf, shape)
            waiting.append((job.since if plain else self.turn_of(job), job.uid))
            jobs[job.uid] = job
            if job.claim:
                self.claims[job.uid] = job
            if job.front:
                self._to_front(job, 1)
        for waiting in touched:
            heapify(waiting)

    # --- what changes --------------------------------------------------------------------------

    def submit(self, job: QueuedView) -> None:
        """A job queues, or another version of it."""
        if job.uid in self.jobs or job.uid in self.aside:
            self.remove(job.uid)
        view = self.views.get(job.queue)
        if job.gate or view is None:
            self.aside[job.uid] = job
            return
        leaf = self.leaf(job.queue, job.owner)
        shape = self.shape_of(job)
        self.jobs[job.uid] = job
        if job.claim:
            self.claims[job.uid] = job
        if job.front:
            self._to_front(job, 1)
        entry = (self.turn_of(job), job.uid)
        waiting = leaf.queues.get(shape)
        if waiting is None:
            leaf.queues[shape] = [entry]
            enlist(leaf, shape)
        elif (shape, *entry) in self.garbage:
            self.garbage.discard((shape, *entry))
            return
        else:
            heappush(waiting, entry)
            if waiting[0] is not entry:
                return
        self.touch(leaf)

    def remove(self, uid: str, starts: bool = False) -> None:
        """A waiting job is gone, or (:meth:`begin` follows) starts."""
        if self.aside.pop(uid, None) is not None:
            return
        job = self.jobs.pop(uid)
        self.claims.pop(uid, None)
        if job.front:
            self._to_front(job, -1)
        leaf, shape = self.leaves[job.queue, job.owner], self.shape_of(job)
        waiting = leaf.queues[shape]
        self._shapes.pop(uid, None)
        if waiting[0][1] != uid:
            self.garbage.add((shape, self.turn_of(job), uid))
            return
        heappop(waiting)
        while waiting and (shape, *waiting[0]) in self.garbage:
            self.garbage.discard((shape, *heappop(waiting)))
        if not waiting:
            delist(leaf, shape)
        if not starts:
            self.touch(leaf)
            self._drop_if_new(leaf)

    def _drop_if_new(self, leaf: Branch) -> None:
        """A user who asks for nothing any more and never had anything: nobody's share is less for that."""
        if leaf.queues or leaf.known or leaf.jobs:
            return
        assert leaf.parent is not None
        if leaf.twin is not None:
            leaf.twin.twin = None
        else:
            leaf.parent.below -= leaf.weight
        del leaf.parent.children[f"user:{leaf.owner}"], self.leaves[leaf.name, leaf.owner]

    def begin(self, view: ActiveView) -> None:
        """An attempt holds its quota from now on."""
        queue = self.views.get(view.queue)
        leaf = self.leaf(view.queue, view.owner) if queue is not None else None
        machine = self.machines.get(view.backend)
        places = view.places or ((view.node, view.need),)
        rate = self.weights.billing(view.need)
        end = view.latest_end
        path = leaf.line if leaf is not None else []
        if view.waits:
            rate = 0
        else:
            if machine is not None:
                machine.start(view.uid, end, places)
            if leaf is not None and not view.overtook:
                leaf.last = max(leaf.last, view.since)
        active = Active(view, leaf, machine if not view.waits else None, rate, end, places)
        self.active[view.uid] = active
        if leaf is not None and not view.waits and (view.ending or view.preemptible):
            (self.ending if view.ending else self.preemptible)[view.uid] = active
        charge = rate * self._growth(view.since)
        # Nothing gets a better rank by a start, but below a limit or a budget that stopped others: the first of those
        # may be it.
        better = False
        self.root.version += 1
        for branch in path:
            branch.hold(view.uid, end, view.need, 1)
            branch.base -= charge
            branch.rate += rate
            branch.version += 1
            better = better or branch.tight or branch.short
            if better and branch.parent is not None:
                branch.parent.log(branch)
            if branch.budget is not None:
                planned = view.need.cpu_millis * view.time_limit_seconds
                if view.waits:
                    branch.pledge(planned, self.now)
                else:
                    branch.spend(planned, view.since, self.now)
        if leaf is not None and leaf.twin is not None:
            leaf.twin.version += 1
        if self.fronted and leaf is not None:
            self.touch_fronts(leaf)

    def end(self, uid: str, at: float, *, recorded: bool = True) -> None:
        """An attempt has ended at that time: it gives back what it held, and is charged what it took. Not
        ``recorded``: it took nothing, and nobody will know of it.
        """
        active = self.active.pop(uid)
        self.ending.pop(uid, None)
        self.preemptible.pop(uid, None)
        view, leaf = active.view, active.leaf
        if active.machine is not None:
            active.machine.end(uid, active.places)
        if leaf is None:
            return
        leaf.known = leaf.known or (recorded and not view.waits)
        charge = active.rate * self._growth(at)
        # The path has less usage. More than that only where something was stopped, or other jobs have its places.
        better = bool(self.fronted)
        self.root.version += 1
        for branch in leaf.line:
            better = better or branch.tight or branch.short
            branch.version += 1
            if branch.parent is not None:
                branch.parent.log(branch, eased=not better)
            branch.hold(uid, active.end, view.need, -1)
            branch.base += charge
            branch.rate -= active.rate
            if branch.budget is not None:
                planned = view.need.cpu_millis * view.time_limit_seconds
                if view.waits:
                    branch.pledge(-planned, self.now)
                    continue
                took = round(view.need.cpu_millis * max(0.0, at - view.since))
                branch.spend(took - planned, view.since, self.now)
        if leaf.twin is not None and leaf.parent is not None:
            leaf.twin.version += 1
            leaf.parent.log(leaf.twin, eased=not better)
        if self.fronted:
            self.touch_fronts(leaf)
        self._drop_if_new(leaf)

    def advance(self, now: float) -> None:
        """Time goes on; never back."""
        before, self.now = self.tick, max(self.now, now)
        if math.floor(self.now / self.policy.window_seconds) != before:
            self._sample()
            for owner in self.leaves.values():
                if owner.twin is not None:
                    owner.version += 1  # what runs for the one counts for the other
        for what, branch in self.timers.past(self.now):
            if what == BUDGET and branch.budget is not None:
                branch.forget(self.now)
                branch.reckon(self.now)
                self.timers.set((branch.budget.window(self.now) + 1) * branch.budget.window_seconds, BUDGET, branch)
            elif what == PROMOTION:
                branch.promotion = math.inf
            else:
                branch.timer = math.inf
            self.touch(branch)

    # --- asked by the order --------------------------------------------------------------------

    def _sample(self) -> None:
        self.tick = math.floor(self.now / self.policy.window_seconds)
        self.horizon = self.clock.growth((self.tick + 2) * self.policy.window_seconds)

    def _growth(self, time: float) -> int:
        """The clock's: what starts and ends at one moment asks for the same."""
        if time != self._grown[0]:
            self._grown = (time, self.clock.growth(time))
        return self._grown[1]

    def usage(self, branch: Branch) -> int:
        """A numerator of :mod:`.usage`; what runs counts to the end of the next window."""
        own = branch.base + branch.rate * self.horizon
        twin = branch.twin
        return own if twin is None else own + twin.base + twin.rate * self.horizon

    def touch(self, branch: Branch) -> None:
        """Something below, or in, ``branch`` changed, perhaps for the better."""
        one: Branch | None = branch
        while one is not None:
            one.version += 1
            if one.parent is not None:
                one.parent.log(one)
            one = one.parent
        if self.fronted:
            self.touch_fronts(branch)

    def touch_fronts(self, branch: Branch) -> None:
        """What was moved to the front of the queues above has the place of the first there, which may be another."""
        for queue in branch.line:
            for leaf in queue.fronts:
                if leaf is not branch:
                    one: Branch | None = leaf
                    while one is not None and one.parent is not None:
                        one.version += 1
                        one.parent.log(one)
                        one = one.parent

    def _to_front(self, job: QueuedView, sign: int) -> None:
        """One more waits that was moved to the front (``sign`` 1), or one less (-1)."""
        leaf = self.leaves[job.queue, job.owner]
        self.fronted[leaf] = self.fronted.get(leaf, 0) + sign
        if self.fronted[leaf]:
            self.queues[job.queue].fronts[leaf] = None
        else:
            del self.fronted[leaf], self.queues[job.queue].fronts[leaf]

    def promote_at(self, leaf: Branch, time: float) -> None:
        """A job of the leaf has a higher level from then on."""
        leaf.promotion = time
        self.timers.set(time, PROMOTION, leaf)

    def recheck_at(self, branch: Branch, time: float) -> None:
        """What fits beside the branch's reservation does not any more."""
        if time < branch.timer:
            branch.timer = time
            self.timers.set(time, ROOM, branch)

    def _is_there(self, branch: Branch) -> bool:
        return not branch.owner or self.leaves.get((branch.name, branch.owner)) is branch
