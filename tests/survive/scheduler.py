"""One that believes it leads: ``python -m tests.survive.scheduler URL LIMIT``. It admits, and ends what it sees run.

Nothing but the record's own compare-and-swap is between several of these.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from datetime import datetime, timezone
from typing import Any

from jupyter_trainjob.backends.base import NodeCapacity
from jupyter_trainjob.controllers.admission import AdmissionController
from jupyter_trainjob.controllers.snapshot import ended_row
from jupyter_trainjob.controllers.source import SnapshotSource
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Filter, Store, Writer

from ..controllers.instant import InstantBackend


class Roomy(InstantBackend):
    async def capacity(self) -> list[NodeCapacity]:
        return [NodeCapacity("here", 10**9, 2**60)]


def now() -> datetime:
    return datetime.now(timezone.utc)


def end_one(writer: Writer) -> bool:
    """End a job that runs; False when all have ended."""
    page = writer.list(TrainJob, Filter(phases=[Phase.ADMITTED]), limit=50)
    if page.items:
        job: Any = random.choice(page.items)
        job.status.attempts[-1].end = now()
        job.status.phase = Phase.SUCCEEDED
        row = ended_row(job, job.status.attempts[-1])
        assert row is not None
        writer.note_ended(row)
        writer.update(job)
    return bool(page.items) or writer.count(TrainJob, Filter(phases=[Phase.QUEUED])) > 0


async def main(url: str) -> None:
    with Store.open(url) as store:
        source = SnapshotSource(store, {"local": Roomy()})
        controller = AdmissionController(store, source, now, logging.getLogger("test"))
        going_on = True
        while going_on:
            for _ in range(3):
                await controller.reconcile()
            going_on = await store.awrite(end_one)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
