"""EASY backfill: what the first job that has no room gets, and what it leaves for those behind.

Source: D. Lifka, "The ANL/IBM SP scheduling system" (1995). The first blocked job has a reservation: its *shadow time*,
at which it starts if the running jobs end at their time limits, and the *extra* room that it does not need then. A
later
job may start now if it ends before the shadow time or takes only the extra. The reservation never moves later for it.

Here the same rule holds for nodes and for each branch's limit and budget; one job holds the reservation of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from .model import Snapshot
from .nodes import BOUNDLESS, NO_CAPS, Caps, Group, Machine, Places, Shape
from .order import Order
from .tree import Branch, Entry, Key

SOON = 1e-3
"""A job ends before the shadow time also if it ends so many seconds after: sums of floats are no better."""


class Choice(NamedTuple):
    """The next job to start."""

    entry: Entry
    shape: Shape
    places: Places


class Held(NamedTuple):
    """The reservation on a machine."""

    entry: Entry
    group: Group
    start: float
    caps: Caps


class _Known(NamedTuple):
    """A reservation, or that there is none, and when that was: versions and time, how often something had ended on the
    machine, and how many changes of nodes there had been.
    """

    stamp: tuple[int, int, int, float]
    held: Held | None
    ended: int
    changes: int


class Engine(Order):
    """The state of a pass, and what it says who is next."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._held: dict[Machine, _Known] = {}

    def leaves_room(self, branch: Branch, shape: Shape, group: Group) -> bool:
        """Whether a job of ``shape`` may start before the one of ``group`` that holds the branch's reservation."""
        start, _ = self.limit_reservation(branch, group)
        if self.now + shape.limit <= max(start, self.now) + SOON:
            self.recheck_at(branch, start - shape.limit + 2 * SOON)
            return True
        return self.spares(branch, shape, group)

    def spares(self, branch: Branch, key: Key, group: Group) -> bool:
        """Whether a job of ``key`` may go on beside the one of ``group`` when that starts."""
        _, spare = self.limit_reservation(branch, group)
        return spare[0] >= 1 and key.cpu <= spare[1] and key.memory <= spare[2] and key.gpu <= spare[3]

    def longest(self, branch: Branch, group: Group) -> float:
        """Jobs of what time limits end before the branch's reservation begins."""
        return self.limit_reservation(branch, group)[0] - self.now + SOON

    def limit_reservation(self, branch: Branch, group: Group) -> tuple[float, tuple[int, int, int, int]]:
        """When the branch's limit allows a job of ``group``, and what it leaves then."""
        if branch.room is not None and branch.room[:2] == (branch.version, group):
            return branch.room[2:]
        if branch.ends is None:
            branch.ends = sorted((end, uid) for uid, (end, _) in branch.running.items())
        most = branch.maximum
        assert most is not None
        spare = [
            BOUNDLESS if most.jobs is None else most.jobs - branch.jobs - 1,
            BOUNDLESS if most.cpu_millis is None else most.cpu_millis - branch.cpu - group.cpu,
            BOUNDLESS if most.memory_bytes is None else most.memory_bytes - branch.memory - group.memory,
            BOUNDLESS if most.gpu is None else most.gpu - branch.gpu - group.gpu,
        ]
        start = -math.inf
        for end, uid in branch.ends:
            if min(spare) >= 0 and end > start:
                break
            start, need = end, branch.running[uid][1]
            spare[0] += need.jobs
            spare[1] += need.cpu_millis
            spare[2] += need.memory_bytes
            spare[3] += need.gpu
        found = (spare[0], spare[1], spare[2], spare[3])
        branch.room = (branch.version, group, start, found)
        return start, found

    def held(self, machine: Machine) -> Held | None:
        """The reservation on a machine: that of the first job for which it has no room, but would have."""
        stamp = (self.root.version, self.tick, machine.version, self.now)
        known = self._held.get(machine)
        if known is not None and known.stamp == stamp:
            return known.held
        found: Held | None = None
        top = self.best(self.summit, machine.everything)
        if known is not None and top is not None:
            found = self._as_before(machine, known, top)
        if top is not None and found is None:
            found = self._reserve(machine, top, self.shape_of(self.jobs[top[4]]).group)
        if top is not None and found is None:
            tops = [(self.best(self.summit, group), group) for group in machine.groups.values()]
            blocked = [(top, group) for top, group in tops if top is not None]
            heapify(blocked)
            while blocked and found is None:
                found = self._reserve(machine, *heappop(blocked))
        self._held[machine] = _Known(stamp, found, machine.ended, len(machine.changed))
        return found

    def _as_before(self, machine: Machine, known: _Known, top: Entry) -> Held | None:
        """The same reservation, where jobs have only started since, and none on its nodes: none of them makes room
        for it, or takes any that it was to have.
        """
        held = known.held
        if held is None or held.entry[4] != top[4] or known.stamp[3] != self.now or known.ended != machine.ended:
            return None
        if held.group.room is None:
            return None  # pods of several kinds are searched for room, which may go another way now
        if any(node in held.caps for node in machine.changed[known.changes :]):
            return None
        return held._replace(entry=top)

    def _reserve(self, machine: Machine, top: Entry, group: Group) -> Held | None:
        if machine.fits(group):
            return None
        start, caps = machine.reservation(group, self.now)
        return Held(top, group, start, caps) if start < math.inf else None

    def pick(self) -> Choice | None:
        """The first in rank that may start."""
        found = None
        for machine in self.machines.values():
            if machine.everything not in self.summit.keys:
                continue  # nobody waits for it
            choice = self._pick_on(machine)
            if choice is not None and (found is None or choice.entry < found.entry):
                found = choice
        return found

    def _beside(self, fitting: list[Group], held: Held | None) -> Iterator[Key]:
        """Of what fits now, what may start beside a reservation that comes before all of it."""
        if held is None:
            yield from fitting
            return
        beside, others = held.group.machine.split(fitting, held.caps)
        yield from beside
        longest = held.start + SOON - self.now
        for group in others:
            for shape in group.shapes.values():
                if shape.limit <= longest and shape in self.summit.keys:
                    yield shape

    def _pick_on(self, machine: Machine) -> Choice | None:
        root = self.summit
        keys = root.keys
        fitting = [group for group in machine.fitting() if group in keys]
        if not fitting:
            return None
        top = self.best(root, machine.everything)
        if top is None:
            return None
        shape = self.shape_of(self.jobs[top[4]])
        if machine.fits(shape.group):  # nobody is before it, and nobody's reservation binds it
            return Choice(top, shape, machine.place(shape.group) or ())
        held = self.held(machine)
        there: list[tuple[Entry, Key]] = []
        for key in self._beside(fitting, held if held is not None and held.entry is top else None):
            entry = self.best(root, key)
            if entry is not None:
                there.append((entry, key))
        heapify(there)
        while there:
            entry, key = heappop(there)
            shape = self.shape_of(self.jobs[entry[4]])
            bound = held is not None and held.entry < entry and self.now + shape.limit > held.start + SOON
            places = machine.place(shape.group, held.caps if bound and held is not None else NO_CAPS)
            if places is not None:
                return Choice(entry, shape, places)
            if isinstance(key, Group):
                for other in key.shapes.values():
                    if other.limit < shape.limit and (first := self.best(root, other)) is not None:
                        heappush(there, (first, other))
        return None
