"""How many of a group's equal pods fit on each node, now and later; only the nodes that changed since are looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .packing import Vector, times

if TYPE_CHECKING:
    from .nodes import Group, Node


class Room:
    """Of a group whose pods are all equal, on its machine."""

    __slots__ = ("count", "first", "known", "known_steps", "machine", "need", "now", "steps", "total")

    def __init__(self, group: Group) -> None:
        self.machine = group.machine
        self.count, self.need = group.pods[0]
        self.now: list[int] = []
        self.total = 0
        """The sum of ``now``: what fits now, of each node no more than there are pods."""
        self.steps: list[list[tuple[float, int]]] = []
        """Of each node: from when on how many fit, as :meth:`.Node.rooms` tells it."""
        self.first: list[float] = []
        """Of each node: from when on one fits."""
        self.known = self.known_steps = -1
        """Places in ``Machine.changed``."""

    def forget(self) -> None:
        """Look at all nodes anew."""
        self.known = self.known_steps = -1

    def fits(self, caps: Mapping[Node, Vector]) -> bool:
        """Whether all pods fit now, leaving what ``caps`` hold back."""
        if self.known != len(self.machine.changed):
            self._look()
        if not caps or self.total < self.count:
            return self.total >= self.count
        total = self.total
        for node, free in caps.items():
            here = self.now[node.index]
            if here:
                total += min(here, times(node.takes(self.need), free)) - here
        return total >= self.count

    def there(self) -> list[Node]:
        """The nodes that have room for one now."""
        if self.known != len(self.machine.changed):
            self._look()
        return [node for node, room in zip(self.machine.nodes, self.now, strict=True) if room]

    def _look(self) -> None:
        nodes, changed, need, most = self.machine.nodes, self.machine.changed, self.need, self.count
        fresh = changed[self.known :] if self.known >= 0 else nodes
        if self.known < 0 or len(fresh) >= len(nodes):
            self.now, self.total, fresh = [0] * len(nodes), 0, nodes
        for node in fresh:
            room = 0
            if node.fits(need):
                room = 1 if most == 1 else min(most, times(node.takes(need), node.free))
            self.total += room - self.now[node.index]
            self.now[node.index] = room
        self.known = len(changed)

    def reservation(self, now: float) -> tuple[float, list[tuple[Node, int]]]:
        """When all pods fit if nothing starts, and on which nodes so many; infinite: never. The same nodes as
        :func:`.pack` takes.
        """
        nodes, changed = self.machine.nodes, self.machine.changed
        fresh = changed[self.known_steps :] if self.known_steps >= 0 else nodes
        if self.known_steps < 0 or len(fresh) >= len(nodes):
            self.steps = [node.rooms(self.need, self.count) for node in nodes]
            self.first = [steps[0][0] if steps else math.inf for steps in self.steps]
        else:
            for node in set(fresh):
                steps = self.steps[node.index] = node.rooms(self.need, self.count)
                self.first[node.index] = steps[0][0] if steps else math.inf
        self.known_steps = len(changed)
        if self.count == 1:
            soonest = min(self.first, default=math.inf)
            found = [(nodes[self.first.index(soonest)], 1)] if soonest < math.inf else []
            return max(now, soonest), found
        start = max(now, self._when())
        if start == math.inf:
            return start, []
        there = [
            (-next(room for time, room in reversed(self.steps[index]) if time <= start), index)
            for index, first in enumerate(self.first)
            if first <= start
        ]
        found, left = [], self.count
        for room, index in sorted(there):
            taken = min(left, -room)
            if not taken:
                break
            found.append((nodes[index], taken))
            left -= taken
        return start, found

    def _when(self) -> float:
        """At what end of a job there is room for the last of the pods."""
        more = []
        for steps in self.steps:
            before = 0
            for time, room in steps:
                more.append((time, room - before))
                before = room
        left = self.count
        for time, rooms in sorted(more):
            left -= rooms
            if left <= 0:
                return time
        return math.inf
