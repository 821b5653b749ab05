"""One pass of admission: the one policy, of ``docs/scheduling.md``.

The first in rank (:mod:`.order`) that may start (:mod:`.engine`) starts and is charged; then the next, until none
may. Then
room that is owed is taken back (:mod:`.reclaim`). The same snapshot gives the same decision, whatever order it is in.

A queue whose jobs something else orders and admits (``elsewhere``) has no room here: its jobs pass, in this order, as
soon as no gate, pause, limit and budget of their owner's, the queue's or those above stops them.
"""

from __future__ import annotations

from collections.abc import Iterable

from .engine import Engine
from .model import ActiveView, Admission, Decision, QueuedView, Reservation, Snapshot
from .nodes import Places
from .reclaim import reclaim
from .waiting import waiting


def order(queued: Iterable[QueuedView]) -> list[QueuedView]:
    """Jobs by priority down, then time of queueing, then uid: the order where all users had the same."""
    return sorted(queued, key=rank)


def rank(job: QueuedView) -> tuple[int, float, str]:
    """What :func:`order` goes by."""
    return (-job.priority, job.since, job.uid)


def decide(snapshot: Snapshot) -> Decision:
    """Which queued jobs start now, which running ones make room, and why each of the others waits."""
    return run(Engine(snapshot))


def run(engine: Engine) -> Decision:
    """The decision for the engine's present state, which then has its admissions in it, and not its preemptions.

    Ask for ``waiting`` and ``reservations`` before the engine goes on.
    """
    admissions = []
    while (choice := engine.pick()) is not None:
        job = engine.jobs[choice.entry[4]]
        admissions.append(admit(engine, job, choice.places))
    return Decision(tuple(admissions), lambda: waiting(engine), lambda: _reservations(engine), tuple(reclaim(engine)))


def _reservations(engine: Engine) -> tuple[Reservation, ...]:
    helds = [(machine.backend, engine.held(machine)) for machine in engine.machines.values()]
    return tuple(Reservation(name, held.entry[4], held.start) for name, held in helds if held is not None)


def admit(engine: Engine, job: QueuedView, places: Places) -> Admission:
    """Start a waiting job in the engine's state."""
    leaf = engine.leaves[job.queue, job.owner]
    head = engine.head(leaf)
    overtook = head is not None and head[0] < (engine.turn_of(job), job.uid)
    engine.remove(job.uid, starts=True)
    view = engine.views[job.queue]
    several = places if job.pods and not view.elsewhere else ()
    engine.begin(
        ActiveView(
            job.uid,
            job.owner,
            job.queue,
            view.backend,
            places[0][0],
            job.need,
            engine.now,
            job.time_limit_seconds,
            view.elsewhere,
            several,
            job.preemptible,
            overtook,
        )
    )
    return Admission(job.uid, places[0][0], several, overtook)
