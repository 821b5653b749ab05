"""Points of a sweep wait at a gate, so that no more of them queue or run at once than was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..resources.names import SWEEP_LABEL
from ..resources.trainjob import TrainJob
from ..store import Filter, Stored, Writer
from .snapshot import LIVE

PAGE = 1000
LOOK_SECONDS = 20.0
"""What waits in a sweep has all of it looked at so often at the most; what came since, and each end, at once."""
MAX_LOOKS = 10_000
_WAITS = '"type":"sweep"'
"""In the stored JSON of a point at its gate; a label or a parameter may look the same."""


def waits(job: TrainJob) -> bool:
    """Whether the job waits for another point to end."""
    return any(gate.type == "sweep" for gate in job.spec.scheduling_gates)


@dataclass
class _Look:
    at: float
    clock: datetime
    comes: str = ""
    """uid of the point that comes back for all."""


class Looks:
    """When all points of each sweep were looked at last, so that not each of those that wait does it."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], _Look] = {}

    def due(self, job: TrainJob, now: float) -> bool:
        """Whether ``job`` has to look at its sweep: it was not there at the last look, or that was long ago. ``now``
        in monotonic seconds.
        """
        last, created = self._last.get(_key(job)), job.metadata.creation_timestamp
        return last is None or now >= last.at + LOOK_SECONDS or (created is not None and created > last.clock)

    def comes_back(self, job: TrainJob, now: float) -> float | None:
        """After how many seconds ``job``, which does not look now, comes back; None where another does."""
        last = self._last[_key(job)]
        last.comes = last.comes or job.metadata.uid
        return last.at + LOOK_SECONDS - now if last.comes == job.metadata.uid else None

    def note(self, job: TrainJob, now: float, clock: datetime) -> None:
        """All points of its sweep that are recorded at ``clock`` are looked at."""
        if len(self._last) > MAX_LOOKS:
            self._last.clear()
        self._last[_key(job)] = _Look(now, clock)


def _key(job: TrainJob) -> tuple[str, str, str]:
    return job.metadata.namespace, job.metadata.owner, job.spec.sweep.name if job.spec.sweep is not None else ""


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
