"""How many of a group's equal pods fit on each node, now and later; only the nodes that changed since are looked at."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

from .packing import Vector, spread, times

if TYPE_CHECKING:
    from .nodes import Group, Node


class Room:
    """Of a group whose pods are all equal, on its machine."""

    __slots__ = ("ahead", "count", "first", "known", "machine", "need", "now", "times", "total")

    def __init__(self, group: Group) -> None:
        self.machine = group.machine
        self.count, self.need = group.pods[0]
        self.now: list[int] = []
        self.total = 0
        """The sum of ``now``: what fits now, of each node no more than there are pods."""
        self.times: list[list[float]] = []
        """Of each node: when one fits, when two, and so on."""
        self.first: list[float] = []
        """Of each node: when one fits."""
        self.known = self.ahead = -1
        """Places in ``Machine.changed``."""

    def forget(self) -> None:
        """Look at all nodes anew."""
        self.known = self.ahead = -1

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

    def place(self, caps: Mapping[Node, Vector]) -> list[tuple[Node, int]] | None:
        """On which nodes so many go now, as :func:`.pack` has it; None: there is no room."""
        if not self.fits(caps):
            return None
        nodes = self.machine.nodes
        rooms = []
        for index, room in enumerate(self.now):
            if room and caps and nodes[index] in caps:
                room = min(room, times(nodes[index].takes(self.need), caps[nodes[index]]))
            if room:
                rooms.append((-room, index))
        found = spread(self.count, rooms)
        return None if found is None else [(nodes[index], taken) for index, taken in found]

    def reservation(self, now: float) -> tuple[float, list[tuple[Node, int]]]:
        """When all pods fit if nothing starts, and on which nodes so many; infinite: never. The same nodes as
        :func:`.pack` takes then; one pod goes where it fits first.
        """
        nodes = self.machine.nodes
        self._look_ahead()
        if self.count == 1:
            soonest = min(self.first, default=math.inf)
            there = [(nodes[self.first.index(soonest)], 1)] if soonest < math.inf else []
            return max(now, soonest), there
        ahead = sorted(chain.from_iterable(self.times))
        if len(ahead) < self.count:
            return math.inf, []
        start = max(now, ahead[self.count - 1])
        rooms = [
            (-bisect_right(self.times[index], start), index) for index, one in enumerate(self.first) if one <= start
        ]
        found = spread(self.count, rooms) or []
        return start, [(nodes[index], taken) for index, taken in found]

    def _look_ahead(self) -> None:
        nodes, changed = self.machine.nodes, self.machine.changed
        fresh = changed[self.ahead :] if self.ahead >= 0 else nodes
        if self.ahead < 0 or len(fresh) >= len(nodes):
            self.times, self.first, fresh = [[]] * len(nodes), [math.inf] * len(nodes), nodes
        for node in set(fresh):
            when = self.times[node.index] = node.times(self.need, self.count)
            self.first[node.index] = when[0] if when else math.inf
        self.ahead = len(changed)
