"""Which of many different needs there is room for: by CPU and GPUs, and in each the memory that is to be had."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING

from .packing import Vector

if TYPE_CHECKING:
    from .nodes import Group, Node

_MEMORY = attrgetter("memory")


class Size:
    """Groups of one pod that need the same CPU and GPUs, by the memory that they need.

    One of them fits where its memory is no more than the largest that a node has left for such CPU and GPUs: so much
    is kept, and only nodes that changed are looked at.
    """

    __slots__ = ("_beside", "cpu", "gpu", "groups", "known", "most", "where")

    def __init__(self, cpu: int, gpu: int) -> None:
        self.cpu, self.gpu = cpu, gpu
        self.groups: list[Group] = []
        self.most = -1
        self.where: Node | None = None
        """The node that has so much."""
        self.known = -1
        """Place in ``Machine.changed``."""
        self._beside: tuple[int, Mapping[Node, Vector], int] | None = None

    def add(self, group: Group) -> None:
        """One more."""
        insort(self.groups, group, key=_MEMORY)

    def drop(self, group: Group) -> None:
        """One less."""
        place = bisect_right(self.groups, group.memory, key=_MEMORY) - 1
        while self.groups[place] is not group:
            place -= 1
        del self.groups[place]

    def fitting(self, nodes: list[Node], changed: list[Node]) -> list[Group]:
        """Those that there is room for."""
        self._look(nodes, changed)
        return self.groups[: bisect_right(self.groups, self.most, key=_MEMORY)]

    def beside(self, nodes: list[Node], changed: list[Node], caps: Mapping[Node, Vector]) -> int:
        """The memory that is to be had where ``caps`` hold some of it back; -1: none."""
        self._look(nodes, changed)
        if self.where not in caps:
            return self.most
        known = self._beside
        if known is None or known[0] != self.known or known[1] is not caps:
            free = (self._left(node, caps.get(node, node.free)) for node in nodes)
            known = self._beside = (self.known, caps, max(free, default=-1))
        return known[2]

    def _look(self, nodes: list[Node], changed: list[Node]) -> None:
        if self.known == len(changed):
            return
        fresh: Iterable[Node] = changed[self.known :] if self.known >= 0 else nodes
        self.known = len(changed)
        for node in fresh:
            left = self._left(node, node.free)
            if left >= self.most:
                self.most, self.where = left, node
            elif node is self.where:
                self.most, self.where = max(
                    ((self._left(one, one.free), one) for one in nodes), key=lambda pair: (pair[0], -pair[1].index)
                )

    def _left(self, node: Node, free: Vector) -> int:
        """The memory of a node beside the CPU and GPUs; -1: it has no room for these."""
        slots, cpu, memory, gpu = free
        if slots < 1 or gpu < self.gpu or (node.gpu_only and not self.gpu):
            return -1
        if node.extra is not None:
            cpu, memory = cpu - node.extra.cpu_millis, memory - node.extra.memory_bytes
        return memory if cpu >= self.cpu and memory >= 0 else -1
