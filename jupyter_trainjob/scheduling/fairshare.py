"""What the weights of the tree give to each user, for reports.

The order of jobs (:mod:`.order`) is Fair Tree's (https://slurm.schedmd.com/fair_tree.html): siblings by shares over
usage, from the root down to the users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .model import QueueView


@dataclass(slots=True)
class Branch:
    """A queue, or a user in one."""

    weight: int
    parent: Branch | None
    waiting: int = 0
    """Jobs, of a user; else branches below that have some."""
    wanted: int = 0
    """The weights of those branches."""
    dealt: float = 0.0
    """What each unit of weight below was due till now (the virtual time of fair queueing)."""
    seen: float = 0.0
    """What of the parent's it has had, or let pass."""


class Dues:
    """What each user is due, down the tree: a branch's part is for those who wait in it, at each moment by their
    weights against the siblings that have jobs waiting then.
    """

    def __init__(self, queues: Mapping[str, QueueView]) -> None:
        self._views = queues
        self._root = Branch(1, None)
        self._queues: dict[str, Branch] = {}
        self._users: dict[tuple[str, str], Branch] = {}
        self.due: dict[tuple[str, str], float] = {}

    def _queue(self, name: str, seen: tuple[str, ...] = ()) -> Branch:
        if name not in self._views or name in seen:
            return self._root
        if name not in self._queues:
            parent = self._queue(self._views[name].parent, (*seen, name))
            self._queues[name] = Branch(max(1, self._views[name].weight), parent)
        return self._queues[name]

    def deal(self, amount: float) -> None:
        """So much was to be had since the last time."""
        if self._root.wanted:
            self._root.dealt += amount / self._root.wanted

    def wait(self, queue: str, owner: str, more: int = 0) -> None:
        """So many more jobs of the user wait in the queue; what was due till now is."""
        leaf = self._users.get((queue, owner))
        if leaf is None:
            weight = max(1, self._views[queue].shares.get(owner, 1))
            leaf = self._users[queue, owner] = Branch(weight, self._queue(queue))
            self.due[queue, owner] = 0.0
        self.due[queue, owner] += self._settle(leaf)
        branch = leaf
        while branch.parent is not None and more:
            before = branch.waiting
            branch.waiting += more
            more = bool(branch.waiting) - bool(before)
            branch.parent.wanted += more * branch.weight
            branch = branch.parent

    def _settle(self, branch: Branch) -> float:
        """What came to the branch since the last time."""
        parent = branch.parent
        if parent is None:
            return 0.0
        part = self._settle(parent)
        if parent.wanted:
            parent.dealt += part / parent.wanted
        came = branch.weight * (parent.dealt - branch.seen) if branch.waiting else 0.0
        branch.seen = parent.dealt
        return came
