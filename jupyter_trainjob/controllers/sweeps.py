"""Points of a sweep wait at a gate, so that no more of them queue or run at once than was asked for."""

from __future__ import annotations

from datetime import datetime

from ..resources.names import SWEEP_LABEL
from ..resources.trainjob import TrainJob
from ..store import Filter, Stored, Writer
from .snapshot import LIVE

PAGE = 1000
_WAITS = '"type":"sweep"'
"""In the stored JSON of a point at its gate; a label or a parameter may look the same."""


def waits(job: TrainJob) -> bool:
    """Whether the job waits for another point to end."""
    return any(gate.type == "sweep" for gate in job.spec.scheduling_gates)


def settle(writer: Writer, job: TrainJob, now: datetime) -> list[str]:
    """Open the gates of as many points of ``job``'s sweep as may go on; their uids, the lowest points first."""
    sweep = job.spec.sweep
    if sweep is None or sweep.max_parallel is None:
        return []
    live = _live(writer, job, sweep.name)
    waiting = [stored for stored in live if _WAITS in stored.text and waits(stored.resource)]
    free = sweep.max_parallel - (len(live) - len(waiting))
    opened = []
    for stored in waiting[: max(0, free)]:
        fresh = stored.resource
        fresh.spec.scheduling_gates = [gate for gate in fresh.spec.scheduling_gates if gate.type != "sweep"]
        if not fresh.spec.scheduling_gates:
            fresh.status.queued = now  # time spent behind a gate is not time in the queue
        writer.update(fresh, check=False)
        opened.append(fresh.metadata.uid)
    return opened


def _live(writer: Writer, job: TrainJob, name: str) -> list[Stored[TrainJob]]:
    """The points of the sweep that have not ended, as they were made."""
    meta = job.metadata
    where = Filter(namespaces=[meta.namespace], owner=meta.owner, phases=LIVE, labels=f"{SWEEP_LABEL}={name}")
    found: list[Stored[TrainJob]] = []
    token = ""
    while True:
        page = writer.list_stored(TrainJob, where, order="oldest", limit=PAGE, continue_=token)
        found += page.items
        token = page.continue_
        if not token:
            return found
