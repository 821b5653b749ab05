"""The tree of queues and users: what is in use below each, and where to look for waiting jobs."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field

from .model import Amount, Budget, Ceiling
from .nodes import BOUNDLESS, Everything, Group, Shape

Key = Group | Shape | Everything
Rank = tuple[float, float, tuple[tuple[int, int, float], ...], float, str]
Entry = tuple[float, float, tuple[tuple[int, int, float], ...], float, str, int, int, "Branch"]
"""A rank, the branch's version and tick when it was made, and the branch."""

IN_FRONT = -1e14
"""Turns of jobs that were moved to the front begin here, downwards."""
NO_LEVEL = (math.inf, math.inf)
CLAIMING = 1 << 40
"""The priority of jobs for which others end: before all."""
CLAIM_TURNS = -2e14
"""Their turns begin here, upwards: the claim that was made first is first."""
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
        "better_at",
        "budget",
        "changed",
        "children",
        "closed",
        "cpu",
        "dead",
        "ends",
        "fronts",
        "gpu",
        "groups",
        "guaranteed",
        "heaps",
        "holder",
        "jobs",
        "keys",
        "known",
        "last",
        "led",
        "left",
        "line",
        "log_end",
        "log_start",
        "maximum",
        "memory",
        "most_cpu",
        "most_gpu",
        "most_jobs",
        "most_memory",
        "name",
        "only",
        "owner",
        "parent",
        "pledged",
        "promotion",
        "queues",
        "rate",
        "room",
        "running",
        "saver",
        "short",
        "spent",
        "stands",
        "table",
        "table_of",
        "tight",
        "timer",
        "top",
        "twin",
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
        self.line: tuple[Branch, ...] = () if parent is None else (self, *parent.line)
        """From here up, without the root."""
        self.weight = max(1, weight)
        self.maximum: Ceiling | None = None if maximum == Ceiling() else maximum
        self.guaranteed: Ceiling | None = None if guaranteed == Ceiling() else guaranteed
        self.most_jobs = BOUNDLESS if maximum.jobs is None else maximum.jobs
        self.most_cpu = BOUNDLESS if maximum.cpu_millis is None else maximum.cpu_millis
        self.most_memory = BOUNDLESS if maximum.memory_bytes is None else maximum.memory_bytes
        self.most_gpu = BOUNDLESS if maximum.gpu is None else maximum.gpu
        self.budget = budget
        self.left = BOUNDLESS
        """Of the budget, in its present window."""
        self.spent: dict[int, int] = {}
        self.pledged = 0
        """What those take of it that something else may start at any time."""
        self.closed = False
        self.twin: Branch | None = None
        """A leaf's: the same user's, with the jobs that the limits of each user are not for, or are for. They are one
        user with one usage, and one weight.
        """
        self.known = False
        """A leaf's: whether anything of it ever ran, as far as the record tells."""
        self.jobs = self.cpu = self.memory = self.gpu = 0
        self.base = self.rate = 0
        self.last = 0.0
        self.version = 0
        self.children: dict[str, Branch] = {}
        self.below = 0
        self.keys: dict[Key, dict[Branch, None]] = {}
        self.groups: dict[Group, None] = {}
        """Those of the keys that are groups."""
        self.heaps: dict[Key, Heap] = {}
        self.only: dict[Key, tuple[Entry | None, int, int, Branch]] = {}
        """For keys that one child alone has: its entry, and as of which version and tick of which child."""
        self.changed: list[Branch] = []
        self.log_start = self.log_end = 0
        self.better_at = -1
        """Where in its parent's log it stands last for more than less usage."""
        self.queues: dict[Shape, list[tuple[float, str]]] = {}
        self.running: dict[str, tuple[float, Amount]] = {}
        self.ends: list[tuple[float, str]] | None = None
        self.holder: tuple[int, int, tuple[Rank, Group] | None] = (-1, -1, None)
        self.room: tuple[int, Group, float, tuple[int, int, int, int]] | None = None
        self.saver: tuple[int, int, tuple[Rank, int] | None] = (-1, -1, None)
        """Who has the reservation of the budget, and its cost; as of which version and tick."""
        self.short = False
        """Whether that reservation may stop others."""
        self.tight = False
        """Whether its limit stops any of the groups below; as old as ``holder``."""
        self.led = False
        """Whether the holder of its limit's reservation is the first of all below."""
        self.dead: dict[Shape, bool] = {}
        """Of a leaf's shapes that were asked for: whether they can never start."""
        self.table: dict[Key, Rank] = {}
        """A leaf's: the first job of each key; as of version ``table_of``."""
        self.table_of = -1
        self.top: tuple[int, tuple[float, float]] = (-1, NO_LEVEL)
        """A leaf's: its version, and the best level and anchor of its jobs, whatever was moved to the front."""
        self.fronts: dict[Branch, None] = {}
        """A queue's: the users in it with a job that was moved to its front."""
        self.stands: tuple[int, int, int, int, float] = (-1, -1, 1, 0, 0.0)
        """As of which version and tick, whether it borrows (1) or is owed (0), its usage, and that over its weight."""
        self.timer = math.inf
        self.promotion = math.inf

    def __lt__(self, other: Branch) -> bool:
        return (self.name, self.owner) < (other.name, other.owner)

    def over(self, key: Key) -> str:
        """The limit that one more job would exceed, by its name in the API; empty: none."""
        if self.jobs >= self.most_jobs:
            return "runningJobs"
        if self.cpu + key.cpu > self.most_cpu:
            return "cpu"
        if self.memory + key.memory > self.most_memory:
            return "memory"
        return "gpu" if self.gpu + key.gpu > self.most_gpu else ""

    def owed(self) -> bool:
        """Whether it has less than is guaranteed to it, of everything that is (0 of something is no guarantee)."""
        owed = self.guaranteed
        return (
            owed is not None
            and (not owed.jobs or self.jobs < owed.jobs)
            and (not owed.cpu_millis or self.cpu < owed.cpu_millis)
            and (not owed.memory_bytes or self.memory < owed.memory_bytes)
            and (not owed.gpu or self.gpu < owed.gpu)
        )

    def has_left(self) -> bool:
        """Whether any job could be within the guarantee: every job takes some CPU."""
        owed = self.guaranteed
        return (
            owed is not None
            and (owed.jobs is None or self.jobs < owed.jobs)
            and (owed.cpu_millis is None or self.cpu < owed.cpu_millis)
        )

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

    def spend(self, cost: int, since: float, now: float) -> None:
        """Take of the budget of the window that ``since`` lies in; less than nothing gives back."""
        assert self.budget is not None
        window = self.budget.window(since)
        self.spent[window] = self.spent.get(window, 0) + cost
        self.reckon(now)

    def pledge(self, cost: int, now: float) -> None:
        """Keep so much of every window's budget; less than nothing gives back."""
        self.pledged += cost
        self.reckon(now)

    def forget(self, now: float) -> None:
        """What was spent in the windows that are over is of no account."""
        assert self.budget is not None
        window = self.budget.window(now)
        self.spent = {one: cost for one, cost in self.spent.items() if one >= window}

    def reckon(self, now: float) -> None:
        """Look at what is left of the budget."""
        if self.budget is not None:
            self.left = self.budget.cpu_milliseconds - self.used_up(now)

    def used_up(self, now: float) -> int:
        """Of the budget, in its present window."""
        assert self.budget is not None
        return self.spent.get(self.budget.window(now), 0) + self.pledged

    def hold(self, uid: str, end: float, need: Amount, sign: int) -> None:
        """Count what an attempt holds (``sign`` 1), or gives back (-1)."""
        jobs, cpu, memory, gpu = need
        self.jobs += sign * jobs
        self.cpu += sign * cpu
        self.memory += sign * memory
        self.gpu += sign * gpu
        if self.maximum is None:
            return
        if sign > 0:
            self.running[uid] = (end, need)
            if self.ends is not None:
                insort(self.ends, (end, uid))
        else:
            del self.running[uid]
            if self.ends is not None:
                del self.ends[bisect_left(self.ends, (end, uid))]

    def never(self, key: Key) -> bool:
        """Whether one job is above the limit even when nothing else runs."""
        most = self.maximum
        return most is not None and most.exceeded_by(Amount(1, key.cpu, key.memory, key.gpu)) is not None

    def never_pays(self, key: Key) -> bool:
        """Whether one job costs more than the whole budget."""
        return self.budget is not None and key.dearest > self.budget.cpu_milliseconds

    def log(self, child: Branch, *, eased: bool = False) -> None:
        """``child`` may have a better rank than before. ``eased``: by less usage alone, with the same jobs."""
        self.changed.append(child)
        if not eased:
            child.better_at = self.log_end
        self.log_end += 1
        if self.log_end - self.log_start > LOG_LENGTH:
            self.log_start = self.log_end
            self.changed.clear()


def enlist(leaf: Branch, shape: Shape) -> None:
    """The leaf has jobs of the shape: all above it learn where to look."""
    for key in (shape, shape.group, shape.group.machine.everything):
        branch = leaf
        while branch.parent is not None:
            there = branch.parent.keys.get(key)
            if there is None:
                there = branch.parent.keys[key] = {}
                if type(key) is Group:
                    branch.parent.groups[key] = None
            elif branch in there:
                break
            there[branch] = None
            branch = branch.parent


def delist(leaf: Branch, shape: Shape) -> None:
    """It has none any more."""
    leaf.queues.pop(shape, None)
    leaf.dead.pop(shape, None)
    keys: list[Key] = [shape]
    machine = shape.group.machine
    if not any(other.group is shape.group for other in leaf.queues):
        keys.append(shape.group)
    if not leaf.queues:
        keys.append(shape.group.machine.everything)
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
            if type(key) is Group:
                del branch.parent.groups[key]
            branch.parent.heaps.pop(key, None)
            branch.parent.only.pop(key, None)
            branch = branch.parent
        else:
            machine.forget(key)  # nobody at all asks for it any more
