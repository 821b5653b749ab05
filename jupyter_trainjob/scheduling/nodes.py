"""The nodes of one backend: what is free, when more will be, and which shapes of jobs fit."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence

from .model import NOTHING, Amount, NodeView, QueuedView
from .packing import Vector, pack, times
from .rooms import Room
from .sizes import Size

BOUNDLESS = 1 << 62
LOG_LENGTH = 100_000
MANY = 32
"""From so many groups on, those that fit are found by their sizes; fewer are asked one by one."""
Places = tuple[tuple[str, Amount], ...]
"""Node and need of each pod."""


class Node:
    """A node. What each pod takes beside its need is added to the need, and once to the size: so the first is free of
    it.
    """

    __slots__ = (
        "cpu",
        "ends",
        "extra",
        "gpu",
        "gpu_only",
        "index",
        "memory",
        "name",
        "running",
        "slots",
        "view",
    )

    def __init__(self, view: NodeView, index: int) -> None:
        self.view, self.name, self.index, self.gpu_only = view, view.name, index, view.gpu_only
        self.extra = None if view.per_job == NOTHING else view.per_job
        self.slots = BOUNDLESS if view.jobs is None else view.jobs
        self.cpu = view.size.cpu_millis + view.per_job.cpu_millis
        self.memory = view.size.memory_bytes + view.per_job.memory_bytes
        self.gpu = view.size.gpu
        self.running: dict[str, tuple[float, Vector]] = {}
        self.ends: list[tuple[float, str]] = []

    def takes(self, need: Amount) -> Vector:
        """What one pod takes here; more than all where it must not be here."""
        if self.gpu_only and not need.gpu:
            return (1, BOUNDLESS * 2, 0, 0)
        if self.extra is None:
            return (1, need.cpu_millis, need.memory_bytes, need.gpu)
        return (1, need.cpu_millis + self.extra.cpu_millis, need.memory_bytes + self.extra.memory_bytes, need.gpu)

    def fits(self, need: Amount) -> bool:
        """Whether there is room for one pod now."""
        if self.cpu < need.cpu_millis or self.slots < 1 or self.gpu < need.gpu or self.memory < need.memory_bytes:
            return False
        if self.extra is None and not self.gpu_only:
            return True
        wanted = self.takes(need)
        return self.cpu >= wanted[1] and self.memory >= wanted[2]

    @property
    def free(self) -> Vector:
        """What is free now."""
        return (self.slots, self.cpu, self.memory, self.gpu)

    def free_at(self, time: float) -> Vector:
        """What is free at ``time``, when all that run end at their time limits and nothing starts."""
        slots, cpu, memory, gpu = self.slots, self.cpu, self.memory, self.gpu
        for end, uid in self.ends:
            if end > time:
                break
            part = self.running[uid][1]
            slots += part[0]
            cpu += part[1]
            memory += part[2]
            gpu += part[3]
        return slots, cpu, memory, gpu

    def times(self, need: Amount, most: int) -> list[float]:
        """When one pod fits, when two, up to ``most``, at the latest; -inf: now. Those that never will are left out."""
        if most == 1 and self.extra is None and not self.gpu_only and self.slots == BOUNDLESS:
            return self._first_time(need)
        wanted = self.takes(need)
        slots, cpu, memory, gpu = self.free
        found = [-math.inf] * min(most, times(wanted, (slots, cpu, memory, gpu)))
        for end, uid in self.ends:
            if len(found) == most:
                break
            part = self.running[uid][1]
            slots, cpu, memory, gpu = slots + part[0], cpu + part[1], memory + part[2], gpu + part[3]
            if cpu >= wanted[1] and (more := min(most, times(wanted, (slots, cpu, memory, gpu)))) > len(found):
                found += [end] * (more - len(found))
        return found

    def _first_time(self, need: Amount) -> list[float]:
        """The same for one pod, where nothing but the sizes counts."""
        _, cpu, memory, gpu = need
        cpu, memory, gpu = cpu - self.cpu, memory - self.memory, gpu - self.gpu
        if cpu <= 0 and memory <= 0 and gpu <= 0:
            return [-math.inf]
        for end, uid in self.ends:
            part = self.running[uid][1]
            cpu -= part[1]
            memory -= part[2]
            gpu -= part[3]
            if cpu <= 0 and memory <= 0 and gpu <= 0:
                return [end]
        return []

    def start(self, uid: str, end: float, need: Amount, count: int = 1) -> None:
        """Take the room of ``count`` pods until ``end``."""
        one = self.takes(need) if not self.gpu_only or need.gpu else (1, need.cpu_millis, need.memory_bytes, 0)
        part = (one[0] * count, one[1] * count, one[2] * count, one[3] * count)
        self._take(part)
        if uid in self.running:
            end, before = self.running[uid]
            part = (part[0] + before[0], part[1] + before[1], part[2] + before[2], part[3] + before[3])
        else:
            insort(self.ends, (end, uid))
        self.running[uid] = (end, part)

    def end(self, uid: str) -> None:
        """Give back the room of a job."""
        end, part = self.running.pop(uid)
        del self.ends[bisect_left(self.ends, (end, uid))]
        self._take((-part[0], -part[1], -part[2], -part[3]))

    def _take(self, part: Vector) -> None:
        if self.slots != BOUNDLESS:
            self.slots -= part[0]
        self.cpu -= part[1]
        self.memory -= part[2]
        self.gpu -= part[3]


class Group:
    """Jobs of equal needs, whatever their time limits: they fit or they don't, all of them."""

    __slots__ = (
        "blocked",
        "cpu",
        "dearest",
        "ever",
        "gpu",
        "machine",
        "memory",
        "name",
        "need",
        "pods",
        "room",
        "seen",
        "shapes",
        "single",
    )

    def __init__(self, machine: Machine, job: QueuedView, name: object) -> None:
        self.machine, self.name = machine, name
        self.need = job.need
        self.cpu, self.memory, self.gpu = job.need.cpu_millis, job.need.memory_bytes, job.need.gpu
        self.pods = tuple((pod.count, pod.need) for pod in job.pods) or ((1, job.need),)
        self.shapes: dict[tuple[int, int], Shape] = {}
        self.dearest = 0
        self.blocked = False
        self.seen = -1
        self.ever: bool | None = None
        """Whether it fits on the nodes when they are empty; None: nobody has asked."""
        self.single = len(self.pods) == 1 and self.pods[0][0] == 1
        """Whether it is one pod."""
        self.room = Room(self) if len(self.pods) == 1 else None


class Shape:
    """Jobs of one group with the same time limit and priority: what stops one of them in a queue stops them all, and of
    one user's the one that queued first is first.
    """

    __slots__ = ("cpu", "dearest", "gpu", "group", "limit", "memory", "priority")

    def __init__(self, group: Group, limit: int, priority: int) -> None:
        self.group, self.limit, self.priority = group, limit, priority
        self.cpu, self.memory, self.gpu = group.cpu, group.memory, group.gpu
        self.dearest = group.cpu * limit
        """What one takes of a budget, in thousandths of CPU-seconds; of more than one shape: the most."""


class Everything:
    """All jobs of a machine, whatever their shapes; ``cpu``, ``memory`` and ``gpu`` are the most that any needs."""

    __slots__ = ("cpu", "dearest", "gpu", "machine", "memory")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dearest = self.cpu = self.memory = self.gpu = 0

    def look_at(self, groups: Iterable[Group]) -> None:
        """The most that any of these needs."""
        self.dearest = self.cpu = self.memory = self.gpu = 0
        for group in groups:
            self.dearest, self.cpu = max(self.dearest, group.dearest), max(self.cpu, group.cpu)
            self.memory, self.gpu = max(self.memory, group.memory), max(self.gpu, group.gpu)


Caps = Mapping[Node, Vector]
"""Nodes that have less for a job than is free, because a reservation holds it."""
NO_CAPS: Caps = {}


class Machine:
    """All nodes of a backend."""

    def __init__(self, backend: str, views: Sequence[NodeView]) -> None:
        self.backend = backend
        self.nodes = [Node(view, index) for index, view in enumerate(views)]
        self.by_name = {node.name: node for node in self.nodes}
        self.groups: dict[object, Group] = {}
        self.sizes: dict[tuple[int, int], Size] = {}
        """Of the groups of one pod, by CPU and GPUs."""
        self.gangs: dict[object, Group] = {}
        self.everything = Everything(self)
        self._forgotten = 0
        """Groups since what all need was last looked at."""
        self.free_cpu = sum(max(0, node.cpu) for node in self.nodes)
        """Of all nodes together; one that holds more than its size has none, and takes none of the others'."""
        self.version = 0
        self.ended = 0
        """How often something ended."""
        self.changed: list[Node] = []
        """Every node on which something started or ended, in turn; ``known`` of groups and rooms are places in it."""

    def shape(self, job: QueuedView, priority: int) -> Shape:
        """The shape of a job, with the priority that it has here."""
        key = (job.need, job.pods) if job.pods else job.need
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(self, job, key)
            if group.single:
                self.sizes.setdefault((group.cpu, group.gpu), Size(group.cpu, group.gpu)).add(group)
            else:
                self.gangs[key] = group
            every = self.everything
            every.cpu, every.memory = max(every.cpu, group.cpu), max(every.memory, group.memory)
            every.gpu = max(every.gpu, group.gpu)
        terms = (job.time_limit_seconds, priority)
        shape = group.shapes.get(terms)
        if shape is None:
            shape = group.shapes[terms] = Shape(group, *terms)
            group.dearest = max(group.dearest, shape.dearest)
            self.everything.dearest = max(self.everything.dearest, shape.dearest)
        return shape

    def forget(self, key: object) -> None:
        """No job that waits is of the shape, or of the group, any more: it is no longer looked at, nor its needs."""
        if isinstance(key, Shape):
            del key.group.shapes[key.limit, key.priority]
            key.group.dearest = max((one.dearest for one in key.group.shapes.values()), default=0)
        elif isinstance(key, Group):
            del self.groups[key.name]
            self._forgotten += 1
            if key.single:
                size = self.sizes[key.cpu, key.gpu]
                size.drop(key)
                if not size.groups:
                    del self.sizes[key.cpu, key.gpu]
            else:
                del self.gangs[key.name]
        if isinstance(key, Everything) or self._forgotten > len(self.groups):
            self._forgotten = 0
            self.everything.look_at(self.groups.values())

    def start(self, uid: str, end: float, places: Places) -> None:
        """A job takes its places; those on nodes that are not there are left out."""
        for name, need in places:
            node = self.by_name.get(name)
            if node is not None:
                self.free_cpu -= max(0, node.cpu)
                node.start(uid, end, need)
                self.free_cpu += max(0, node.cpu)
                self.changed.append(node)
        self.version += 1

    def end(self, uid: str, places: Places) -> None:
        """It gives them back."""
        for name in dict.fromkeys(name for name, _ in places):
            node = self.by_name.get(name)
            if node is not None:
                self.free_cpu -= max(0, node.cpu)
                node.end(uid)
                self.free_cpu += max(0, node.cpu)
                self.changed.append(node)
        self.version += 1
        self.ended += 1
        if len(self.changed) > LOG_LENGTH:
            self.changed.clear()
            for group in self.groups.values():
                if group.room is not None:
                    group.room.forget()
            for size in self.sizes.values():
                size.known = -1

    def fitting(self) -> list[Group]:
        """Those of the groups that there is room for now."""
        if len(self.groups) <= MANY:
            return [group for group in self.groups.values() if self.fits(group)]
        found = [group for group in self.gangs.values() if self.fits(group)]
        for size in self.sizes.values():
            found += size.fitting(self.nodes, self.changed)
        return found

    def fits(self, group: Group) -> bool:
        """Whether there is room for a job of the group now."""
        if group.cpu > self.free_cpu:
            return False
        if group.room is not None:
            return group.room.fits(NO_CAPS)
        if group.seen != self.version:
            group.blocked = self.place(group) is None
            group.seen = self.version
        return not group.blocked

    def split(self, fitting: list[Group], caps: Caps) -> tuple[list[Group], list[Group]]:
        """Of the groups that fit: those that do beside what ``caps`` hold back, and the others."""
        many = len(self.groups) > MANY
        sizes = self.sizes.items() if many else ()
        reach = {key: size.beside(self.nodes, self.changed, caps) for key, size in sizes}
        beside: list[Group] = []
        others: list[Group] = []
        for group in fitting:
            if many and group.single:
                fits = group.memory <= reach[group.cpu, group.gpu]
            else:
                fits = self.fits_beside(group, caps)
            (beside if fits else others).append(group)
        return beside, others

    def fits_beside(self, group: Group, caps: Caps) -> bool:
        """Whether there is room for a job of the group that leaves what ``caps`` hold back."""
        if group.cpu > self.free_cpu:
            return False
        if group.single and len(self.groups) > MANY:
            return group.memory <= self.sizes[group.cpu, group.gpu].beside(self.nodes, self.changed, caps)
        return group.room.fits(caps) if group.room is not None else self.place(group, caps) is not None

    def ever_fits(self, group: Group) -> bool:
        """Whether there is room for a job of the group when nothing else runs."""
        if group.ever is None:
            empty = [Node(node.view, node.index) for node in self.nodes]
            kinds = [(count, [node.takes(need) for node in empty]) for count, need in group.pods]
            group.ever = pack(kinds, [node.free for node in empty]) is not None
        return group.ever

    def place(self, group: Group, caps: Caps = NO_CAPS) -> Places | None:
        """Where a job of the group goes now. One pod: the fullest node that has room (by CPU), to keep big gaps
        whole.
        """
        if group.room is None:
            return self._pack(group, [caps.get(node, node.free) for node in self.nodes])
        need = group.pods[0][1]
        if not group.single:
            chosen = group.room.place(caps)
            return tuple((node.name, need) for node, count in chosen for _ in range(count)) if chosen else None
        best: Node | None = None
        for node in group.room.there():
            if best is None or (node.cpu, node.name) < (best.cpu, best.name):
                if node in caps and not times(node.takes(need), caps[node]):
                    continue
                best = node
        return ((best.name, need),) if best is not None else None

    def reservation(self, group: Group, now: float) -> tuple[float, Caps]:
        """When a job of a blocked group starts, and what it leaves of its nodes for jobs that run longer.

        EASY (Lifka, "The ANL/IBM SP scheduling system", 1995): shadow time and extra nodes. Infinite: it never fits.
        """
        if group.room is not None:
            start, chosen = group.room.reservation(now)
            need = group.pods[0][1]
            return start, {node: _left(node, start, [node.takes(need)] * count) for node, count in chosen}
        ends = sorted({max(now, end) for node in self.nodes for end, _ in node.ends} | {now})
        index = bisect_left(ends, True, key=lambda time: self._pack_at(group, time) is not None)
        if index == len(ends):
            return math.inf, NO_CAPS
        places: dict[Node, list[Vector]] = {}
        for name, need in self._pack_at(group, ends[index]) or ():
            node = self.by_name[name]
            places.setdefault(node, []).append(node.takes(need))
        return ends[index], {node: _left(node, ends[index], parts) for node, parts in places.items()}

    def _pack_at(self, group: Group, time: float) -> Places | None:
        return self._pack(group, [node.free_at(time) for node in self.nodes])

    def _pack(self, group: Group, free: list[Vector]) -> Places | None:
        kinds = [(count, [node.takes(need) for node in self.nodes]) for count, need in group.pods]
        found = pack(kinds, free)
        if found is None:
            return None
        return tuple((self.nodes[index].name, group.pods[kind][1]) for index, kind, some in found for _ in range(some))


class Elsewhere(Machine):
    """Where something else finds the room: whatever comes fits here, and takes nothing of the nodes."""

    def __init__(self, backend: str) -> None:
        super().__init__(backend, ())

    def start(self, uid: str, end: float, places: Places) -> None:
        """Nothing is taken."""

    def end(self, uid: str, places: Places) -> None:
        """Nothing is given back."""

    def fits(self, group: Group) -> bool:
        """Always."""
        return True

    def fitting(self) -> list[Group]:
        """All."""
        return list(self.groups.values())

    def fits_beside(self, group: Group, caps: Caps) -> bool:
        """Always."""
        return True

    def ever_fits(self, group: Group) -> bool:
        """Always."""
        return True

    def place(self, group: Group, caps: Caps = NO_CAPS) -> Places:
        """On no node that is known here."""
        return (("", group.need),)


def _left(node: Node, time: float, parts: Sequence[Vector]) -> Vector:
    slots, cpu, memory, gpu = node.free_at(time)
    for part in parts:
        slots -= part[0]
        cpu -= part[1]
        memory -= part[2]
        gpu -= part[3]
    return (min(node.slots, slots), min(node.cpu, cpu), min(node.memory, memory), min(node.gpu, gpu))
