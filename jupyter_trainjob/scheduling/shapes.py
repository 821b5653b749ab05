"""What a waiting job is to the scheduler: its shape, its turn, its priority; and which of a user's is the first."""

from __future__ import annotations

from collections.abc import Mapping

from .model import QueuedView, QueueView
from .nodes import Everything, Machine, Shape
from .tree import CLAIM_TURNS, CLAIMING, IN_FRONT, Branch

ELSEWHERE = "\x1felsewhere"
"""Behind a backend's name: the machine of the jobs that something else admits there."""


class Shapes:
    """Part of :class:`.state.State`, which has these."""

    views: Mapping[str, QueueView]
    machines: dict[str, Machine]
    jobs: dict[str, QueuedView]
    alone: bool
    largest: Everything
    _shapes: dict[str, Shape]
    _machines_of: dict[str, Machine]

    def head(self, leaf: Branch) -> tuple[tuple[float, str], Shape] | None:
        """Of the user's jobs that wait in the queue the first (turn and uid) that may ever start, and its shape: that
        one ages. One above a limit that was lowered, or for nodes that have left, would keep the others from it.
        """
        found: tuple[tuple[float, str], Shape] | None = None
        for shape, waiting in leaf.queues.items():
            if (found is None or waiting[0] < found[0]) and not self._dead(leaf, shape):
                found = (waiting[0], shape)
        return found

    def _dead(self, leaf: Branch, shape: Shape) -> bool:
        """Whether the leaf's jobs of a shape can't start as limits, budgets and nodes are, whatever ends."""
        known = leaf.dead.get(shape)
        if known is None:
            known = leaf.dead[shape] = any(
                branch.never(shape) or branch.never_pays(shape) for branch in leaf.line
            ) or not shape.group.machine.ever_fits(shape.group)
        return known

    def dearest(self) -> int:
        """The most that any job costs, of a budget."""
        if self.alone:
            return self.largest.dearest
        return max((machine.everything.dearest for machine in self.machines.values()), default=0)

    def turn_of(self, job: QueuedView) -> float:
        """What orders the jobs of one user in one queue that have the same priority."""
        if job.claim:
            return CLAIM_TURNS + job.claim
        return IN_FRONT - job.front if job.front else job.since

    def priority_of(self, job: QueuedView) -> int:
        """Its own, the queue's highest where it was moved to the front, above all where others end for it."""
        if job.claim:
            return CLAIMING
        return max(job.priority, self.views[job.queue].top_priority) if job.front else job.priority

    def shape_of(self, job: QueuedView) -> Shape:
        """Its shape on its queue's backend."""
        shape = self._shapes.get(job.uid)
        if shape is None:
            priority = self.priority_of(job) if job.front or job.claim else job.priority
            shape = self._machines_of[job.queue].shape(job, priority)
            if job.uid in self.jobs:
                self._shapes[job.uid] = shape
        return shape

    def machine_of(self, view: QueueView) -> Machine:
        """Where the queue's jobs find room."""
        return self.machines[view.backend + ELSEWHERE if view.elsewhere else view.backend]
