"""Old jobs go, by age and by count; so do old changes of the feed.

What is labelled to be kept stays, and what a job that has not ended reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..resources.names import KEEP_LABEL
from ..resources.trainjob import Phase, TrainJob
from ..store import Filter, Store, Writer
from . import needs, report

FINAL = tuple(phase.value for phase in Phase if phase.final)
NOT_KEPT = f"!{KEEP_LABEL}"
BATCH = 200
USAGE_SECONDS = 2 * 366 * 86400.0
"""What ended attempts used is kept for twice the longest window of a budget."""


@dataclass(frozen=True)
class Retention:
    """What is kept. ``None`` keeps all."""

    max_age_days: float | None = 90.0
    max_jobs_per_namespace: int | None = 10_000
    changes: int = 100_000
    unused_upload_days: float | None = 30.0


class RetentionController:
    """Marks what has outlived its keeping; the job controller does the deleting."""

    def __init__(self, store: Store, rules: Retention) -> None:
        self._store = store
        self._rules = rules

    async def reconcile(self, now: datetime) -> int:
        """One sweep; how many jobs were marked."""
        marked = 0
        if self._rules.max_age_days is not None:
            before = now - timedelta(days=self._rules.max_age_days)
            marked += await self._store.awrite(lambda writer: self._too_old(writer, before, now))
        if self._rules.max_jobs_per_namespace is not None:
            marked += await self._store.awrite(lambda writer: self._too_many(writer, now))
        await self._store.awrite(lambda writer: writer.prune_changes(self._rules.changes))
        await self._store.awrite(lambda writer: writer.forget_ended(now.timestamp() - USAGE_SECONDS))
        return marked

    def _too_old(self, writer: Writer, before: datetime, now: datetime) -> int:
        ended = Filter(phases=FINAL, labels=NOT_KEPT, finished_before=before)
        page = writer.list(TrainJob, ended, order="oldest", limit=BATCH)
        needed = needs.jobs(writer) if page.items else set()
        old = [job for job in page.items if job.metadata.uid not in needed]
        return sum(self._mark(writer, job, f"it ended before {before:%Y-%m-%d}", now) for job in old)

    def _too_many(self, writer: Writer, now: datetime) -> int:
        keep = self._rules.max_jobs_per_namespace or 0
        marked = 0
        for namespace in writer.namespaces(TrainJob):
            here = Filter(namespaces=[namespace], phases=FINAL, labels=NOT_KEPT)
            excess = min(BATCH, writer.count(TrainJob, here) - keep)
            if excess > 0:
                page = writer.list(TrainJob, here, order="oldest", limit=excess)
                needed = needs.jobs(writer)
                old = [job for job in page.items if job.metadata.uid not in needed]
                marked += sum(self._mark(writer, job, f"{namespace} keeps its latest {keep}", now) for job in old)
        return marked

    @staticmethod
    def _mark(writer: Writer, job: TrainJob, why: str, now: datetime) -> int:
        if job.metadata.deletion_timestamp is not None:
            return 0
        report.delete(job, why, now)
        writer.update(job, check=False)
        return 1
