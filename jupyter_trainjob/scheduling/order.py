"""The tree of queues and users: what is in use below each, its usage, and the order of what waits there.

The order is that of ``docs/scheduling.md``. A job's *rank* is ``(−level, anchor, path, turn, uid)``, smaller first:

- ``level``: its priority; for the one of a user's jobs in a queue that queued first, and one more for every
  ``ageing_seconds`` since its *anchor*: when it queued, or when the one before it started. ``anchor`` counts only
  where it raised the level. One job at a time, for who sends ten thousand must not gain by their age.
  A job that was moved to the front has the level and the anchor of the best that waits in its queue and below, if that
  is better than its own: the queue's place among others is what it was, and within it this job is first. One that
  others end for (:mod:`.reclaim`) is above all levels, and of those the first is the one whose claim is the oldest.
- ``path``: for each branch from the top down, ``(front, has its guarantee, usage / weight)``, Fair Tree's order of
  siblings (less usage for the shares is a greater level fair share). Below the top the last is divided by the
  siblings' sums, so that it is 1 / LF and the children of tied branches compare as siblings do.
- ``turn``: time of queueing.

Nothing is sorted. Every branch keeps, for each shape asked for, a heap of the branches below it that have such jobs.
An entry is good while its branch has not changed (``version``) and usage was not sampled anew (``tick``); changes that
only make a branch's rank worse are found when it comes to the top, others are logged (``changed``) and looked at
when the heap is next asked. So a change costs the depth of the tree, and a shape that nobody asks for costs nothing.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace

from .nodes import Everything, Group, Machine, Shape
from .state import State
from .tree import CLAIMING, IN_FRONT, NO_LEVEL, Branch, Entry, Heap, Key, Rank


class Order(State):
    """Finds the first in rank."""

    def best(self, branch: Branch, key: Key) -> Entry | None:
        """The first of the jobs of ``key`` below ``branch`` that no limit below it stops."""
        there = branch.keys.get(key)
        if not there:
            return None
        if len(there) == 1:
            return self._only(branch, key, next(iter(there)))
        heap = branch.heaps.get(key)
        if heap is None or heap.seen < branch.log_start:
            heap = branch.heaps[key] = self._heap(branch, key, there)
        elif heap.seen < branch.log_end:
            self._catch_up(branch, key, heap, there)
        entries, present, tick = heap.entries, heap.present, self.tick
        while entries:
            top = entries[0]
            child = top[7]
            if present.get(child) is not top:
                heappop(entries)
                continue
            if top[5] == child.version and (top[6] == tick or not child.rate):
                if top[4]:
                    return top
                fresh = self.entry(child, key)
            else:
                fresh = self._bound(child, top) if len(present) > 1 else self.entry(child, key)
            if fresh is None:
                heappop(entries)
                del present[child]
            else:
                present[child] = fresh
                heapreplace(entries, fresh)
        return None

    def _only(self, branch: Branch, key: Key, child: Branch) -> Entry | None:
        """Where one child alone has such jobs there is nothing to compare."""
        known = branch.only.get(key)
        if known is not None:
            entry, version, tick, who = known
            if who is child and version == child.version and (tick == self.tick or not child.rate):
                return entry
        entry = self.entry(child, key)
        branch.only[key] = (entry, child.version, self.tick, child)
        return entry

    def _heap(self, branch: Branch, key: Key, there: dict[Branch, None]) -> Heap:
        heap = Heap(seen=branch.log_end)
        for child in there:
            entry = self.entry(child, key)
            if entry is not None:
                heap.present[child] = entry
                heap.entries.append(entry)
        heapify(heap.entries)
        return heap

    def _catch_up(self, branch: Branch, key: Key, heap: Heap, there: dict[Branch, None]) -> None:
        seen, heap.seen = heap.seen, branch.log_end
        fresh = branch.changed[seen - branch.log_start :]
        entries, present = heap.entries, heap.present
        if len(entries) > 64 and len(entries) > 2 * len(present) + 64:
            entries = heap.entries = list(present.values())  # without all that is outdated
            heapify(entries)
        for child in dict.fromkeys(fresh) if len(fresh) > 1 else fresh:
            if child not in there:
                present.pop(child, None)
                continue
            old = present.get(child)
            entry: Entry | None
            if old is None:
                if child.better_at < seen:
                    continue  # less usage lets nothing start that something stopped
                entry = self.entry(child, key)
            elif old[5] == child.version and (old[6] == self.tick or not child.rate):
                continue
            elif child.better_at < seen and len(present) > 1:
                entry = self._bound(child, old)
            else:
                entry = self.entry(child, key)
            if entry is None:
                present.pop(child, None)
            else:
                present[child] = entry
                heappush(entries, entry)

    def _stand(self, branch: Branch) -> tuple[int, int, int, int, float]:
        """How the branch stands among its siblings now (``Branch.stands``)."""
        borrows = 0 if branch.guaranteed is not None and branch.owed() else 1
        usage = self.usage(branch)
        stands = branch.stands = (branch.version, self.tick, borrows, usage, usage / branch.weight)
        return stands

    def _bound(self, branch: Branch, old: Entry) -> Entry:
        """Of a branch that has only started jobs or has less usage since its entry ``old``: an entry that is not after
        the one that :meth:`entry` would find, without looking below. It has no uid.
        """
        stands = branch.stands
        if stands[0] != branch.version or stands[1] != self.tick:
            stands = self._stand(branch)
        mine = (old[2][0][0], stands[2], stands[4])
        return (old[0], old[1], (mine,), -math.inf, "", branch.version, self.tick, branch)

    def entry(self, branch: Branch, key: Key) -> Entry | None:
        """The rank of the first of ``key`` below ``branch`` as it stands among the branch's siblings; None: none may
        start as far as this branch's limits and those below go.
        """
        if branch.closed:
            return None
        kind, holder, saver = type(key), None, None
        if branch.budget is not None:
            branch.short = 2 * self.dearest() > branch.left  # else whoever is first, there is enough for any other
            if branch.short:
                if key.dearest > branch.left:
                    return None if kind is Shape else self._first(branch, key)
                saver = self.saver(branch)
        if branch.maximum is not None:
            known = branch.holder
            if known[0] == branch.version and (known[1] == self.tick or not branch.rate):
                holder = known[2]
            elif self.alone and not branch.over(self.largest):
                branch.tight = branch.led = False  # as holder() would say: nobody is stopped
                branch.holder = (branch.version, self.tick, None)
            else:
                holder = self.holder(branch)
            if branch.tight:
                if kind is not Everything:
                    if branch.over(key):
                        return None
                elif self._first_is_over(branch, key):  # type: ignore[arg-type]
                    return self._first(branch, key)
                if branch.led and kind is Group and holder is not None and not self.spares(branch, key, holder[1]):
                    return self._first(branch, key, self.longest(branch, holder[1]))
        stands = branch.stands
        if stands[0] != branch.version or stands[1] != self.tick:
            stands = self._stand(branch)
        found: Rank | Entry | None
        if branch.owner:
            found = self.rank_in_leaf(branch, key)
            if found is None:
                return None
            level, anchor, _, turn, uid = found
            path: tuple[tuple[int, int, float], ...] = ((-1 if turn <= IN_FRONT else 0, stands[2], stands[4]),)
        else:
            found = self.best(branch, key)
            if found is None:
                return None
            level, anchor, path, turn, uid, _, _, _ = found
            front, borrows, used = path[0]
            if used:
                used = used * branch.below / stands[3]
            path = ((0, stands[2], stands[4]), (front, borrows, used), *path[1:])
        if saver is not None and uid != saver[0][4] and found > saver[0]:
            shape = key if kind is Shape else self.shape_of(self.jobs[uid])
            if shape.dearest > branch.left - saver[1]:
                return None if kind is Shape else self._first(branch, key)
        if holder is not None and uid != holder[0][4] and found > holder[0]:
            if kind is not Shape:
                if not self.leaves_room(branch, self.shape_of(self.jobs[uid]), holder[1]):
                    return self._first(branch, key, self.longest(branch, holder[1]))
            elif not self.leaves_room(branch, key, holder[1]):  # type: ignore[arg-type]
                return None
        return (level, anchor, path, turn, uid, branch.version, self.tick, branch)

    def _first_is_over(self, branch: Branch, key: Everything) -> bool:
        first = self.first_of(branch, key)
        return first is None or branch.over(self.shape_of(self.jobs[first[4]])) != ""

    def _first(self, branch: Branch, key: Key, longest: float = math.inf) -> Entry | None:
        """Where not all of the key are stopped by the same: the first of each part of it, and the first of those.
        Of a group only the shapes with a time limit up to ``longest``.
        """
        parts: Iterable[Group | Shape]
        if isinstance(key, Everything):
            there = self._groups(branch)
            parts = [group for group in there if group.machine is key.machine and not branch.over(group)]
        elif branch.owner:
            parts = [shape for shape in branch.queues if shape.group is key and shape.limit <= longest]
        else:
            assert isinstance(key, Group)
            parts = [shape for shape in key.shapes.values() if shape.limit <= longest and shape in branch.keys]
        found = [self.entry(branch, part) for part in parts]
        return min((one for one in found if one is not None), default=None)

    def _groups(self, branch: Branch) -> Iterable[Group]:
        """Of the jobs that wait below."""
        return {shape.group: None for shape in branch.queues} if branch.owner else branch.groups

    def rank_in_leaf(self, leaf: Branch, key: Key) -> Rank | None:
        """The rank of a user's first job of ``key`` among that user's own."""
        if leaf.table_of != leaf.version:
            self._tabulate(leaf)
        return leaf.table.get(key)

    def _tabulate(self, leaf: Branch) -> None:
        table = leaf.table = {}
        leaf.table_of = leaf.version
        for shape, waiting in leaf.queues.items():
            anchor = waiting[0][0] if shape.priority == CLAIMING else math.inf
            table[shape] = (-shape.priority, anchor, (), *waiting[0])
        if not table:
            return
        head = self.head(leaf)
        if head is not None:
            (turn, uid), aged = head
            ageing = self.policy.ageing_seconds
            anchor = max(leaf.last, self.jobs[uid].since)
            steps = max(0, math.floor((self.now - anchor) / ageing))
            if anchor + (steps + 1) * ageing < leaf.promotion:
                self.promote_at(leaf, anchor + (steps + 1) * ageing)
            if steps and aged.priority != CLAIMING:
                table[aged] = (-(aged.priority + steps), anchor, (), turn, uid)
        if leaf in self.fronted:
            leaf.top = (leaf.version, _best_level(table))
            self._place_fronts(leaf)
        first = next(iter(leaf.queues))
        best = table[first]
        for shape in leaf.queues:
            rank, group = table[shape], shape.group
            known = table.get(group)
            if known is None or rank < known:
                table[group] = rank
            if rank < best:
                best = rank
        table[first.group.machine.everything] = best

    def _place_fronts(self, leaf: Branch) -> None:
        """What was moved to the front has the place of the first below the queue, if that is better than its own."""
        assert leaf.parent is not None
        best = self._top(leaf.parent)
        for shape, waiting in leaf.queues.items():
            rank = leaf.table[shape]
            if waiting[0][0] <= IN_FRONT and shape.priority != CLAIMING and best < rank[:2]:
                leaf.table[shape] = (*best, *rank[2:])

    def _top(self, branch: Branch) -> tuple[float, float]:
        """The best level and anchor of what waits below, but for claims, as it was before anything was moved."""
        if not branch.owner:
            return min((self._top(child) for child in branch.children.values()), default=NO_LEVEL)
        if not branch.queues:
            return NO_LEVEL
        if branch.table_of != branch.version:
            self._tabulate(branch)
        return branch.top[1] if branch in self.fronted else _best_level(branch.table)

    def first_of(self, branch: Branch, group: Key) -> Rank | None:
        """The first of ``group`` as the branch's own limit and budget see them: without those."""
        if not branch.owner:
            top = self.best(branch, group)
            return top[:5] if top is not None else None
        return self.rank_in_leaf(branch, group)

    def holder(self, branch: Branch) -> tuple[Rank, Group] | None:
        """The first job below ``branch`` that the branch's limit stops: it has the reservation of it."""
        version, tick, known = branch.holder
        if version == branch.version and (tick == self.tick or not branch.rate):
            return known
        found: tuple[Rank, Group] | None = None
        branch.tight = False
        groups: list[Group] = []
        if not self.alone or branch.over(self.largest):
            groups = [group for group in self._groups(branch) if branch.over(group)]
            branch.tight = bool(groups)
        branch.led = False
        if groups and self.alone:
            # Mostly the first of all is one that the limit stops: then nobody else has to be looked at.
            first = self.first_of(branch, groups[0].machine.everything)
            if first is not None:
                mine = self.shape_of(self.jobs[first[4]]).group
                if mine in groups and not branch.never(mine):
                    found, groups = (first, mine), []
                    branch.led = True
        for group in groups:
            if not branch.never(group):
                rank = self.first_of(branch, group)
                if rank is not None and (found is None or rank < found[0]):
                    found = (rank, group)
        branch.holder = (branch.version, self.tick, found)
        return found

    def saver(self, branch: Branch) -> tuple[Rank, int] | None:
        """The first job below ``branch`` that the branch's budget pays for, whatever else it waits for, and its cost:
        so much is reserved for it, as EASY reserves nodes. Else what is backfilled would spend, in each window, what
        the one with the reservation of the nodes needs. Not for one that could never start.
        """
        version, tick, known = branch.saver
        if version == branch.version and (tick == self.tick or not branch.rate):
            return known
        found: tuple[Rank, int] | None = None
        for machine in self.machines.values():
            one = self._saver_on(branch, machine)
            if one is not None and (found is None or one < found):
                found = one
        branch.saver = (branch.version, self.tick, found)
        return found

    def _saver_on(self, branch: Branch, machine: Machine) -> tuple[Rank, int] | None:
        first = self.first_of(branch, machine.everything)
        if first is None:
            return None
        shape = self.shape_of(self.jobs[first[4]])
        if self._pays(branch, shape):
            return first, shape.dearest
        shapes = branch.queues if branch.owner else [key for key in branch.keys if isinstance(key, Shape)]
        ranks = (
            (self.first_of(branch, shape), shape.dearest)
            for shape in shapes
            if shape.group.machine is machine and self._pays(branch, shape)
        )
        return min(((rank, cost) for rank, cost in ranks if rank is not None), default=None)

    def _pays(self, branch: Branch, shape: Shape) -> bool:
        return (
            shape.dearest <= branch.left
            and not any(one.never(shape) or one.never_pays(shape) for one in branch.line)
            and shape.group.machine.ever_fits(shape.group)
        )

    @abstractmethod
    def longest(self, branch: Branch, group: Group) -> float:
        """Jobs of what time limits end before the branch's reservation begins."""

    @abstractmethod
    def spares(self, branch: Branch, key: Key, group: Group) -> bool:
        """Whether a job of ``key`` may go on beside the one of ``group`` when that starts."""

    @abstractmethod
    def leaves_room(self, branch: Branch, shape: Shape, group: Group) -> bool:
        """Whether a job of ``shape`` may start before the one of ``group`` that holds the branch's reservation."""


def _best_level(table: dict[Key, Rank]) -> tuple[float, float]:
    """Of a leaf's jobs, but for claims."""
    return min((rank[:2] for rank in table.values() if rank[0] != -CLAIMING), default=NO_LEVEL)
