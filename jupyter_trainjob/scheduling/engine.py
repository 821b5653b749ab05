"""EASY backfill: what the first job that has no room gets, and what it leaves for those behind.

Source: D. Lifka, "The ANL/IBM SP scheduling system" (1995). The first blocked job has a reservation: its *shadow time*,
at which it starts if the running jobs end at their time limits, and the *extra* room that it does not need then. A later
job may start now if it ends before the shadow time or takes only the extra. The reservation never moves later for it.

Here the same rule holds for nodes and for each branch's limit; one job holds the reservation of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(slots=True)
class Look:
    """Who is first on a machine, as of ``stamp``."""

    stamp: tuple[int, int, int, float]
    there: list[tuple[Entry, Key]]
    blocked: list[tuple[Entry, Group]]
    settled: bool = False
    held: Held | None = None


class Engine(Order):
    """The state of a pass, and what it says who is next."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._looks: dict[Machine, Look] = {}

    def leaves_room(self, branch: Branch, shape: Shape, group: Group) -> bool:
        """Whether a job of ``shape`` may start before the one of ``group`` that holds the branch's reservation."""
        start, spare = self.limit_reservation(branch, group)
        if self.now + shape.limit <= max(start, self.now) + SOON:
            self.recheck_at(branch, start - shape.limit + 2 * SOON)
            return True
        return spare[0] >= 1 and shape.cpu <= spare[1] and shape.memory <= spare[2] and shape.gpu <= spare[3]

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
        look = self._look(machine)
        if not look.settled:
            look.settled = True
            while look.blocked and look.held is None:
                entry, group = heappop(look.blocked)
                start, caps = machine.reservation(group, self.now)
                if start < math.inf:
                    look.held = Held(entry, group, start, caps)
        return look.held

    def _look(self, machine: Machine) -> Look:
        """The first job of each group, by whether the nodes have room for it; made anew when anything changed."""
        stamp = (self.root.version, self.tick, machine.version, self.now)
        look = self._looks.get(machine)
        if look is not None and look.stamp == stamp:
            return look
        there: list[tuple[Entry, Key]] = []
        blocked: list[tuple[Entry, Group]] = []
        keys = self.root.keys
        for group in machine.groups.values():
            if group in keys and (top := self.best(self.root, group)) is not None:
                if machine.fits(group):
                    there.append((top, group))
                else:
                    blocked.append((top, group))
        heapify(there)
        heapify(blocked)
        look = self._looks[machine] = Look(stamp, there, blocked)
        return look

    def pick(self) -> Choice | None:
        """The first in rank that may start."""
        found = None
        for machine in self.machines.values():
            choice = self._pick_on(machine)
            if choice is not None and (found is None or choice.entry < found.entry):
                found = choice
        return found

    def _pick_on(self, machine: Machine) -> Choice | None:
        look = self._look(machine)
        there = list(look.there)
        while there:
            entry, key = heappop(there)
            shape = self.shape_of(self.jobs[entry[4]])
            caps = NO_CAPS
            if look.settled or (look.blocked and look.blocked[0][0] < entry):
                held = self.held(machine)
                if held is not None and held.entry < entry and self.now + shape.limit > held.start + SOON:
                    caps = held.caps
            places = machine.place(shape.group, caps)
            if places is not None:
                return Choice(entry, shape, places)
            if isinstance(key, Group):
                for other in key.shapes.values():
                    if other.limit < shape.limit and (top := self.best(self.root, other)) is not None:
                        heappush(there, (top, other))
        return None
