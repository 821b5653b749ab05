"""The tree of queues and users: what is in use below each, its usage, and the order of what waits there.

The order is that of ``docs/scheduling.md``. A job's *rank* is ``(−level, anchor, path, turn, uid)``, smaller first:

- ``level``: its priority; for the one of a user's jobs in a queue that queued first, and one more for every
  ``ageing_seconds`` since its *anchor*: when it queued, or when the one before it started. ``anchor`` counts only
  where it raised the level. One job at a time, for who sends ten thousand must not gain by their age.
- ``path``: for each branch from the top down, ``(front, borrows, usage / weight)``, Fair Tree's order of siblings (less
  usage for the shares is a greater level fair share). Below the top the last is divided by the siblings' sums, so that
  it is 1 / LF and the children of tied branches compare as siblings do.
- ``turn``: time of queueing.

Nothing is sorted. Every branch keeps, for each shape asked for, a heap of the branches below it that have such jobs. An entry
is good while its branch has not changed (``version``) and usage was not sampled anew (``tick``); changes that
only make a branch's rank worse are found when it comes to the top, others are logged (``changed``) and looked at
when the heap is next asked. So a change costs the depth of the tree, and a shape that nobody asks for costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from .model import Amount, Budget, Ceiling
from .nodes import Group, Shape

if TYPE_CHECKING:
    from .engine import Engine

Key = Group | Shape
Rank = tuple[float, float, tuple[tuple[int, int, float], ...], float, str]
Entry = tuple[float, float, tuple[tuple[int, int, float], ...], float, str, int, int, "Branch"]
"""A rank, the branch's version and tick when it was made, and the branch."""

IN_FRONT = -1e14
"""Turns of jobs that were moved to the front begin here, downwards."""
LOG_LENGTH = 2000


@dataclass(slots=True)
class Heap:
    """The branches below one that have jobs of one shape, by rank."""

    entries: list[Entry] = field(default_factory=list)
    present: dict[Branch, Entry] = field(default_factory=dict)
    """The entry that stands for a branch; others of it are outdated."""
    seen: int = 0
    """How far in the branch's log it is."""


class Branch:
    """A queue, or a user in one (a leaf)."""

    __slots__ = (
        "base",
        "below",
        "budget",
        "changed",
        "children",
        "closed",
        "cpu",
        "ends",
        "gpu",
        "guaranteed",
        "heaps",
        "holder",
        "jobs",
        "keys",
        "last",
        "log_start",
        "maximum",
        "memory",
        "name",
        "owner",
        "parent",
        "promotion",
        "queues",
        "rate",
        "room",
        "running",
        "spent",
        "timer",
        "version",
        "weight",
    )

    def __init__(
        self,
        name: str,
        owner: str,
        parent: Branch | None,
        weight: int,
        maximum: Ceiling,
        guaranteed: Ceiling,
        budget: Budget | None,
    ) -> None:
        self.name, self.owner, self.parent = name, owner, parent
        self.weight = max(1, weight)
        self.maximum: Ceiling | None = None if maximum == Ceiling() else maximum
        self.guaranteed: Ceiling | None = None if guaranteed == Ceiling() else guaranteed
        self.budget = budget
        self.spent: dict[int, int] = {}
        self.closed = False
        self.jobs = self.cpu = self.memory = self.gpu = 0
        self.base = self.rate = 0
        self.last = 0.0
        self.version = 0
        self.children: dict[str, Branch] = {}
        self.below = 0
        self.keys: dict[Key, dict[Branch, None]] = {}
        self.heaps: dict[Key, Heap] = {}
        self.changed: list[Branch] = []
        self.log_start = 0
        self.queues: dict[Shape, list[tuple[float, str]]] = {}
        self.running: dict[str, tuple[float, Amount]] = {}
        self.ends: list[tuple[float, str]] | None = None
        self.holder: tuple[int, int, tuple[Rank, Group] | None] = (-1, -1, None)
        self.room: tuple[int, Group, float, tuple[int, int, int, int]] | None = None
        self.timer = math.inf
        self.promotion = math.inf

    def __lt__(self, other: Branch) -> bool:
        return (self.name, self.owner) < (other.name, other.owner)

    def path(self) -> list[Branch]:
        """From here up, without the root."""
        found: list[Branch] = []
        branch: Branch | None = self
        while branch is not None and branch.parent is not None:
            found.append(branch)
            branch = branch.parent
        return found

    def over(self, key: Key) -> str:
        """The limit that one more job would exceed, by its name in the API; empty: none."""
        most = self.maximum
        if most is None:
            return ""
        if most.jobs is not None and self.jobs >= most.jobs:
            return "runningJobs"
        if most.cpu_millis is not None and self.cpu + key.cpu > most.cpu_millis:
            return "cpu"
        if most.memory_bytes is not None and self.memory + key.memory > most.memory_bytes:
            return "memory"
        if most.gpu is not None and self.gpu + key.gpu > most.gpu:
            return "gpu"
        return ""

    def within(self, key: Key) -> bool:
        """Whether one more job stays within the guarantee: of everything it needs, so much is guaranteed."""
        owed = self.guaranteed
        if owed is None or (owed.jobs is not None and self.jobs >= owed.jobs):
            return False
        if owed.jobs is None and owed.cpu_millis is None and owed.memory_bytes is None and not key.gpu:
            return False  # only GPUs are guaranteed, and it needs none
        return (
            (not key.cpu or (owed.cpu_millis is None or self.cpu + key.cpu <= owed.cpu_millis))
            and (not key.memory or (owed.memory_bytes is None or self.memory + key.memory <= owed.memory_bytes))
            and (not key.gpu or (owed.gpu is not None and self.gpu + key.gpu <= owed.gpu))
        )

    def borrows(self) -> bool:
        """Whether it has more of anything than is guaranteed to it; one without a guarantee borrows all it has."""
        owed = self.guaranteed
        if owed is None:
            return self.jobs > 0
        return (
            (owed.jobs is not None and self.jobs > owed.jobs)
            or (owed.cpu_millis is not None and self.cpu > owed.cpu_millis)
            or (owed.memory_bytes is not None and self.memory > owed.memory_bytes)
            or self.gpu > (owed.gpu or 0)
        )

    def log(self, child: Branch) -> None:
        """``child`` may have a better rank than before."""
        self.changed.append(child)
        if len(self.changed) > LOG_LENGTH:
            self.log_start += len(self.changed)
            self.changed.clear()


def enlist(leaf: Branch, shape: Shape) -> None:
    """The leaf has jobs of the shape: all above it learn where to look."""
    for key in (shape, shape.group):
        branch = leaf
        while branch.parent is not None:
            there = branch.parent.keys.setdefault(key, {})
            if branch in there:
                break
            there[branch] = None
            branch = branch.parent


def delist(leaf: Branch, shape: Shape) -> None:
    """It has none any more."""
    leaf.queues.pop(shape, None)
    keys: Iterable[Key] = (shape,)
    if not any(other.group is shape.group for other in leaf.queues):
        keys = (shape, shape.group)
    for key in keys:
        branch = leaf
        while branch.parent is not None:
            there = branch.parent.keys.get(key)
            if there is None or branch not in there:
                break
            del there[branch]
            if there:
                break
            del branch.parent.keys[key]
            branch.parent.heaps.pop(key, None)
            branch = branch.parent


class Order:
    """Finds the first in rank. Mixed into :class:`.engine.Engine`, whose clock, jobs and limits it asks."""

    def best(self: Engine, branch: Branch, key: Key) -> Entry | None:
        """The first of the jobs of ``key`` below ``branch`` that no limit below it stops."""
        there = branch.keys.get(key)
        if not there:
            return None
        heap = branch.heaps.get(key)
        if heap is None or heap.seen < branch.log_start:
            heap = branch.heaps[key] = self._heap(branch, key, there)
        elif heap.seen < branch.log_start + len(branch.changed):
            self._catch_up(branch, key, heap, there)
        entries, present, tick = heap.entries, heap.present, self.tick
        while entries:
            top = entries[0]
            child = top[7]
            if present.get(child) is not top:
                heappop(entries)
                continue
            if top[5] == child.version and (top[6] == tick or not child.rate):
                return top
            fresh = self.entry(child, key)
            if fresh is None:
                heappop(entries)
                del present[child]
            else:
                present[child] = fresh
                heapreplace(entries, fresh)
        return None

    def _heap(self: Engine, branch: Branch, key: Key, there: dict[Branch, None]) -> Heap:
        heap = Heap(seen=branch.log_start + len(branch.changed))
        for child in there:
            entry = self.entry(child, key)
            if entry is not None:
                heap.present[child] = entry
                heap.entries.append(entry)
        heapify(heap.entries)
        return heap

    def _catch_up(self: Engine, branch: Branch, key: Key, heap: Heap, there: dict[Branch, None]) -> None:
        fresh = branch.changed[heap.seen - branch.log_start :]
        heap.seen = branch.log_start + len(branch.changed)
        for child in dict.fromkeys(fresh) if len(fresh) > 1 else fresh:
            if child not in there:
                heap.present.pop(child, None)
                continue
            old = heap.present.get(child)
            if old is not None and old[5] == child.version and (old[6] == self.tick or not child.rate):
                continue
            entry = self.entry(child, key)
            if entry is None:
                heap.present.pop(child, None)
            else:
                heap.present[child] = entry
                heappush(heap.entries, entry)

    def entry(self: Engine, branch: Branch, key: Key) -> Entry | None:
        """The rank of the first of ``key`` below ``branch`` as it stands among the branch's siblings; None: none may start
        as far as this branch's limits and those below go.
        """
        if branch.closed or (branch.maximum is not None and branch.over(key)):
            return None
        if branch.budget is not None:
            if isinstance(key, Group):
                return self._first(branch, key)
            if branch.spent.get(self.budget_window(branch.budget), 0) + key.cost > branch.budget.cpu_milliseconds:
                return None
        if branch.owner:
            found = self.rank_in_leaf(branch, key)
            if found is None:
                return None
            below: tuple[tuple[int, int, float], ...] = ()
            front = -1 if found[3] <= IN_FRONT else 0
        else:
            top = self.best(branch, key)
            if top is None:
                return None
            found, front = top[:5], 0
            first = found[2][0]
            if first[2]:
                normal = first[2] * branch.below / self.usage(branch)
                below = ((first[0], first[1], normal), *found[2][1:])
            else:
                below = found[2]
        if branch.maximum is not None:
            holder = self.holder(branch)
            if holder is not None and found > holder[0]:
                if isinstance(key, Group):
                    return self._first(branch, key)
                if not self.leaves_room(branch, key, holder[1]):
                    return None
        borrows = 0 if branch.guaranteed is not None and branch.within(key) else 1
        mine = (front, borrows, self.usage(branch) / branch.weight)
        return (found[0], found[1], (mine, *below), found[3], found[4], branch.version, self.tick, branch)

    def _first(self: Engine, branch: Branch, group: Group) -> Entry | None:
        """Where the time limit matters: the first of each shape of the group, and the first of those."""
        found = [
            self.entry(branch, shape)
            for shape in group.shapes.values()
            if shape in (branch.queues if branch.owner else branch.keys)
        ]
        return min((one for one in found if one is not None), default=None)

    def rank_in_leaf(self: Engine, leaf: Branch, key: Key) -> Rank | None:
        if isinstance(key, Group):
            found = [self.rank_in_leaf(leaf, shape) for shape in leaf.queues if shape.group is key]
            return min((one for one in found if one is not None), default=None)
        waiting = leaf.queues.get(key)
        if not waiting:
            return None
        turn, uid = waiting[0]
        if len(leaf.queues) > 1 and min(other[0] for other in leaf.queues.values()) < waiting[0]:
            return (-key.priority, math.inf, (), turn, uid)
        ageing = self.policy.ageing_seconds
        anchor = max(leaf.last, self.jobs[uid].since)
        steps = max(0, math.floor((self.now - anchor) / ageing))
        if anchor + (steps + 1) * ageing < leaf.promotion:
            self.promote_at(leaf, anchor + (steps + 1) * ageing)
        return (-(key.priority + steps), anchor if steps else math.inf, (), turn, uid)

    def first_of(self: Engine, branch: Branch, group: Group) -> Rank | None:
        """The first of ``group`` as the branch's own limit sees them: without that limit."""
        if not branch.owner:
            top = self.best(branch, group)
            return top[:5] if top is not None else None
        return self.rank_in_leaf(branch, group)

    def holder(self: Engine, branch: Branch) -> tuple[Rank, Group] | None:
        """The first job below ``branch`` that the branch's limit stops: it has the reservation of it."""
        version, tick, known = branch.holder
        if version == branch.version and (tick == self.tick or not branch.rate):
            return known
        found: tuple[Rank, Group] | None = None
        keys: Iterable[Key] = branch.queues if branch.owner else branch.keys
        for group in {key.group if isinstance(key, Shape) else key: None for key in keys}:
            if branch.over(group) and self.never(branch, group) is False:
                rank = self.first_of(branch, group)
                if rank is not None and (found is None or rank < found[0]):
                    found = (rank, group)
        branch.holder = (branch.version, self.tick, found)
        return found
