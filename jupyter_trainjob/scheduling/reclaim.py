"""Taking back what was lent: preemptible jobs of borrowers end for a job within its queue's guarantee.

As Kueue's ``reclaimWithinCohort: Any``: victims are running preemptible jobs of siblings that have more than is
guaranteed to them, whatever their priority, the youngest first, and no more of them than the waiting job needs.

What is freed is the waiting job's: from then on it has a *claim*, and comes before all until it starts or queues no
more. Else priority, or the victims' usage and age, could give them the room again, and they would end again, for ever.
One job gets a claim in a pass: the next pass sees what it leaves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .model import ActiveView, Preemption, QueuedView
from .nodes import NO_CAPS, Places
from .tree import Branch, Entry

if TYPE_CHECKING:
    from .engine import Engine
    from .state import Active


def reclaim(engine: Engine) -> list[Preemption]:
    """What is to end for the first of the jobs that have no room: on each backend, and below each limit."""
    if not engine.preemptible or not any(branch.has_left() for branch in engine.owing):
        return []
    for uid in _claimants(engine):
        job = engine.jobs[uid]
        if victims := _victims(engine, job):
            return [Preemption(victim.view.uid, uid, _message(job, victim)) for victim in victims]
    return []


def _message(job: QueuedView, victim: Active) -> str:
    return f"queue {job.queue} takes back what is guaranteed to it, and queue {victim.view.queue} had borrowed"


def _claimants(engine: Engine) -> list[str]:
    """The job with the reservation of each backend and of each limit that branches with a guarantee share."""
    found: dict[str, None] = {}
    for machine in engine.machines.values():
        held = engine.held(machine)
        if held is not None:
            found[held.entry[4]] = None
    for branch in engine.lenders:
        holder = engine.holder(branch)
        if holder is not None:
            found[holder[0][4]] = None
    return list(found)


def _victims(engine: Engine, job: QueuedView) -> list[Active]:
    group = engine.shape_of(job).group
    path = engine.leaves[job.queue, job.owner].line
    owed = [branch for branch in path if branch in engine.owing and branch.within(group)]
    if not owed:
        return []
    young = sorted(
        (one for one in engine.preemptible.values() if _lent(one, owed)),
        key=lambda one: (-one.view.since, one.view.uid),
    )
    if not young:
        return []
    trial = _Trial(engine, job, path)
    try:
        for active in engine.ending.values():
            trial.remove(active)
        if trial.fits():
            return []  # it only has to wait until those are gone
        chosen: list[Active] = []
        for active in young:
            if not _lent(active, owed):
                continue  # those that went have brought its queue down to its guarantee
            trial.remove(active)
            chosen.append(active)
            if trial.fits():
                break
        else:
            return []
        for active in list(reversed(chosen[:-1])):
            trial.restore(active)
            if trial.fits():
                chosen.remove(active)
            else:
                trial.remove(active)
        return chosen
    finally:
        trial.undo()


def _lent(active: Active, owed: list[Branch]) -> bool:
    """Whether the job is a borrower's: below a sibling of a branch that is owed, with all between above their
    guarantee.
    """
    assert active.leaf is not None
    parents = {branch.parent: branch for branch in owed}
    for branch in active.leaf.line:
        if branch.guaranteed is not None and not branch.borrows():
            return False
        mine = parents.get(branch.parent)
        if mine is not None:
            return mine is not branch and branch.borrows()
    return False


class _Trial:
    """What would be free without some of the running jobs. Looks at the engine's own state, and leaves it as it was."""

    def __init__(self, engine: Engine, job: QueuedView, path: tuple[Branch, ...]) -> None:
        self.engine, self.job, self.path = engine, job, path
        self.group = engine.shape_of(job).group
        self.gone: dict[str, Active] = {}
        self.before = [one for one in sorted(engine.claims.values(), key=engine.turn_of) if one.uid != job.uid]
        """Whose claims are older: their room is not this job's."""
        held = engine.held(self.group.machine)
        self.held: Entry | None = held.entry if held is not None and held.entry[4] != job.uid else None
        """The first that the nodes have no room for, which comes before this one: what it needs is not this one's."""

    def fits(self) -> bool:
        """Whether the job would start, after those that have older claims, and without delaying the first of all."""
        started: list[tuple[QueuedView, Places]] = []
        try:
            for one in self.before:
                group = self.engine.shape_of(one).group
                if (places := group.machine.place(group)) is not None:
                    started.append((one, places))
                    self._shift(one, 1)
                    group.machine.start(one.uid, self.engine.now + one.time_limit_seconds, places)
            return not any(branch.over(self.group) for branch in self.path) and self._has_room()
        finally:
            for one, places in reversed(started):
                self._shift(one, -1)
                self.engine.shape_of(one).group.machine.end(one.uid, places)

    def _has_room(self) -> bool:
        machine, caps = self.group.machine, NO_CAPS
        if self.held is not None:
            first = self.engine.jobs[self.held[4]]
            if not first.claim:
                start, reserved = machine.reservation(self.engine.shape_of(first).group, self.engine.now)
                if start < self.engine.now + self.job.time_limit_seconds and start < math.inf:
                    caps = reserved
        return machine.place(self.group, caps) is not None

    def remove(self, active: Active) -> None:
        """Without that one."""
        self.gone[active.view.uid] = active
        self._shift(active.view, -1)
        if active.machine is not None:
            active.machine.end(active.view.uid, active.places)

    def restore(self, active: Active) -> None:
        """With it again."""
        del self.gone[active.view.uid]
        self._shift(active.view, 1)
        if active.machine is not None:
            active.machine.start(active.view.uid, active.end, active.places)

    def undo(self) -> None:
        """With all of them again."""
        for active in list(self.gone.values()):
            self.restore(active)

    def _shift(self, job: QueuedView | ActiveView, sign: int) -> None:
        for branch in self.engine.leaves[job.queue, job.owner].line:
            branch.jobs += sign * job.need.jobs
            branch.cpu += sign * job.need.cpu_millis
            branch.memory += sign * job.need.memory_bytes
            branch.gpu += sign * job.need.gpu
