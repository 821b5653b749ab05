"""EASY backfill: what the first job that has no room gets, and what it leaves for those behind.

Source: D. Lifka, "The ANL/IBM SP scheduling system" (1995). The first blocked job has a reservation: its *shadow time*,
at which it starts if the running jobs end at their time limits, and the *extra* room that it does not need then. A later
job may start now if it ends before the shadow time or takes only the extra. The reservation never moves later for it.

Here the same rule holds for nodes and for each branch's limit; one job holds the reservation of each.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from .model import Amount
from .nodes import NO_CAPS, Caps, Group, Machine, Places, Shape
from .tree import Branch, Entry, Key

if TYPE_CHECKING:
    from .engine import Engine

BOUNDLESS = 1 << 62
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


class Reserve:
    """Mixed into :class:`.engine.Engine`."""

    def never(self: Engine, branch: Branch, key: Key) -> bool:
        """Whether a job of ``key`` is above the limit of ``branch`` even when nothing else runs."""
        most = branch.maximum
        return most is not None and most.exceeded_by(Amount(1, key.cpu, key.memory, key.gpu)) is not None

    def hold_limit(self: Engine, branch: Branch, uid: str, end: float, need: Amount, sign: int) -> None:
        """Note when what runs below a limited branch ends."""
        if sign > 0:
            branch.running[uid] = (end, need)
            if branch.ends is not None:
                insort(branch.ends, (end, uid))
        else:
            del branch.running[uid]
            if branch.ends is not None:
                del branch.ends[bisect_left(branch.ends, (end, uid))]

    def leaves_room(self: Engine, branch: Branch, shape: Shape, group: Group) -> bool:
        """Whether a job of ``shape`` may start before the one of ``group`` that holds the branch's reservation."""
        start, spare = self.limit_reservation(branch, group)
        if self.now + shape.limit <= max(start, self.now) + SOON:
            self.recheck_at(branch, start - shape.limit + 2 * SOON)
            return True
        return spare[0] >= 1 and shape.cpu <= spare[1] and shape.memory <= spare[2] and shape.gpu <= spare[3]

    def limit_reservation(self: Engine, branch: Branch, group: Group) -> tuple[float, tuple[int, int, int, int]]:
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

    def held(self: Engine, machine: Machine) -> Held | None:
        """The reservation on a machine: that of the first job for which it has no room, but would have."""
        blocked = self.blocked(machine)
        heapify(blocked)
        return self._holder(machine, blocked)

    def blocked(self: Engine, machine: Machine) -> list[tuple[Entry, Group]]:
        """The first job of each group that the nodes stop."""
        found = []
        for group in machine.groups.values():
            top = self.best(self.root, group)
            if top is not None and not machine.fits(group):
                found.append((top, group))
        return found

    def _holder(self: Engine, machine: Machine, blocked: list[tuple[Entry, Group]]) -> Held | None:
        while blocked:
            entry, group = heappop(blocked)
            start, caps = machine.reservation(group, self.now)
            if start < math.inf:
                return Held(entry, group, start, caps)
        return None

    def pick(self: Engine) -> Choice | None:
        """The first in rank that may start."""
        found = None
        for machine in self.machines.values():
            choice = self._pick_on(machine)
            if choice is not None and (found is None or choice.entry < found.entry):
                found = choice
        return found

    def _pick_on(self: Engine, machine: Machine) -> Choice | None:
        there: list[tuple[Entry, Key]] = []
        blocked: list[tuple[Entry, Group]] = []
        root = self.root
        for group in machine.groups.values():
            if group not in root.keys:
                continue
            top = self.best(root, group)
            if top is None:
                continue
            if machine.fits(group):
                there.append((top, group))
            else:
                blocked.append((top, group))
        if not there:
            return None
        heapify(there)
        heapify(blocked)
        held: Held | None = None
        while there:
            entry, key = heappop(there)
            shape = self.shape_of(self.jobs[entry[4]])
            caps = NO_CAPS
            if blocked and held is None and blocked[0][0] < entry:
                held = self._holder(machine, blocked)
            if held is not None and held.entry < entry and self.now + shape.limit > held.start + SOON:
                caps = held.caps
            places = machine.place(shape.group, caps)
            if places is not None:
                return Choice(entry, shape, places)
            if isinstance(key, Group):
                for other in key.shapes.values():
                    if other.limit < shape.limit and (top := self.best(root, other)) is not None:
                        heappush(there, (top, other))
        return None
