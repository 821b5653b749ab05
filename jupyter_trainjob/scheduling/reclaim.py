"""Taking back what was lent: preemptible jobs of borrowers end for a job within its queue's guarantee.

As Kueue's ``reclaimWithinCohort``: victims are running preemptible jobs of siblings that have more than is guaranteed
to them, the youngest first, and no more of them than the waiting job needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Preemption
from .nodes import Group
from .tree import Branch

if TYPE_CHECKING:
    from .engine import Engine
    from .state import Active


def reclaim(engine: Engine) -> list[Preemption]:
    """What is to end for the first jobs that have no room: on each backend, and below each limit."""
    if not engine.reclaims or not engine.preemptible:
        return []
    found: list[Preemption] = []
    taken: set[str] = set()
    for uid in _claimants(engine):
        victims = _victims(engine, uid, taken)
        taken.update(victim.view.uid for victim in victims)
        job = engine.jobs[uid]
        for victim in victims:
            message = (
                f"queue {job.queue} takes back what is guaranteed to it, and queue {victim.view.queue} had borrowed"
            )
            found.append(Preemption(victim.view.uid, uid, message))
    return found


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


def _victims(engine: Engine, uid: str, taken: set[str]) -> list[Active]:
    job = engine.jobs[uid]
    if not engine.views[job.queue].reclaim:
        return []
    group = engine.shape_of(job).group
    path = engine.leaves[job.queue, job.owner].path()
    owed = [branch for branch in path if branch.guaranteed is not None and branch.within(group)]
    if not owed:
        return []
    ending = [*engine.ending.values(), *(engine.preemptible[one] for one in taken)]
    young = sorted(
        (one for one in engine.preemptible.values() if one.view.uid not in taken and _lent(one, owed)),
        key=lambda one: (-one.view.since, one.view.uid),
    )
    if not young:
        return []
    trial = _Trial(engine, path, group)
    try:
        for active in ending:
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
    for branch in active.leaf.path():
        if branch.guaranteed is not None and not branch.borrows():
            return False
        mine = parents.get(branch.parent)
        if mine is not None:
            return mine is not branch and branch.borrows()
    return False


class _Trial:
    """What would be free without some of the running jobs. Looks at the engine's own state, and leaves it as it was."""

    def __init__(self, engine: Engine, path: list[Branch], group: Group) -> None:
        self.engine, self.path, self.group = engine, path, group
        self.gone: dict[str, Active] = {}

    def fits(self) -> bool:
        """Whether the job would start."""
        return (
            not any(branch.over(self.group) for branch in self.path)
            and self.group.machine.place(self.group) is not None
        )

    def remove(self, active: Active) -> None:
        """Without that one."""
        self.gone[active.view.uid] = active
        self._shift(active, -1)
        if active.machine is not None:
            active.machine.end(active.view.uid, active.places)

    def restore(self, active: Active) -> None:
        """With it again."""
        del self.gone[active.view.uid]
        self._shift(active, 1)
        if active.machine is not None:
            active.machine.start(active.view.uid, active.end, active.places)

    def undo(self) -> None:
        """With all of them again."""
        for active in list(self.gone.values()):
            self.restore(active)

    def _shift(self, active: Active, sign: int) -> None:
        assert active.leaf is not None
        need = active.view.need
        for branch in active.leaf.path():
            branch.jobs += sign * need.jobs
            branch.cpu += sign * need.cpu_millis
            branch.memory += sign * need.memory_bytes
            branch.gpu += sign * need.gpu
